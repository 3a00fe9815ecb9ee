"""From the bytes of servers' logs to records."""
