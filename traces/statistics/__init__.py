"""Statistics of a trace, and the similarity of two traces."""
