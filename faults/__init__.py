"""Faults on KV-transfer completion events: rules, plans and the injector.

This package knows nothing of engines or recordings: it is handed one completion event at a time
and says what becomes of it.
"""
