"""The checks of the section, passed or failed."""
