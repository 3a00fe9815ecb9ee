"""How the recording was made."""
