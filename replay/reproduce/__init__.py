"""From two numbers, or from seeds, to a case that shows the gap."""
