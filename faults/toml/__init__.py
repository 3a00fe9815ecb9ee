"""TOML from anybody: read safely, with the line of every key, and mistakes told in one sentence."""
