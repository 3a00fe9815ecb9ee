"""The lives of the guilty requests, step by step."""
