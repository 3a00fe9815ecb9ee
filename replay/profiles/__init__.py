"""Differences between engines: fields, versions, known bugs, and the parties of a transfer."""
