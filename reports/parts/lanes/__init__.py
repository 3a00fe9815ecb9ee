"""The guilty requests as swim lanes, prefill beside decode."""
