"""A map of the pool at the worst gap, page by page."""
