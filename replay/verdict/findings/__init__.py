"""What is wrong in a recording, in the words of leak checkers, and what of it is accepted."""
