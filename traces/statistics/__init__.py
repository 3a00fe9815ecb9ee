"""What is in a trace, in numbers, and how alike two traces are."""
