"""Request traces: arrivals, lengths, shared prefixes.

This package does not depend on replays, faults or reports.
"""
