"""One replay, from options to summary, and what a seed draws."""
