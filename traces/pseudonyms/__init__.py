"""De-identified copies of traces: other names, other hashes, the same shape."""
