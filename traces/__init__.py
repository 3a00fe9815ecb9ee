"""Request traces: what arrived, when, how long, and which prefixes were shared.

This package knows nothing of replays, faults or reports.
"""
