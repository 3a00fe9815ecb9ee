"""Replays of which the truth is known, and how often verdicts on them are right."""
