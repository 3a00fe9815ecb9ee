"""De-identified copies of traces, with new names and hashes and the same structure."""
