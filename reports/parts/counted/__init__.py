"""What was counted, and what the engine itself would have said."""
