"""Verdicts from the logs of real servers."""
