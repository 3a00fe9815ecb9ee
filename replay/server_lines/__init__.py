"""What each engine family writes, one module each."""
