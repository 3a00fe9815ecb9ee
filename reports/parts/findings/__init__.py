"""Findings in the words of leak checkers."""
