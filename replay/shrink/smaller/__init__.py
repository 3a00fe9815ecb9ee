"""What of a case is made smaller, one module each."""
