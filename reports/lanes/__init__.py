"""Requests as swim lanes: what each side did with them, over virtual time, with their events between."""
