"""Owners, events, episodes, unfinished requests and wrong reads, as tables."""
