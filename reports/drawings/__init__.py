"""What every drawing of a recording shares: its series, one palette, one time axis, step curves."""
