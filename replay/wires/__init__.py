"""Metadata, bytes and completion events between the two sides, and what a fault makes of an event."""
