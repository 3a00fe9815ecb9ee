"""The rules of the fault plan, and what came of each."""
