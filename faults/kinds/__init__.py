"""One module for each fault kind, and in `base.py` what a kind must be."""
