"""From the bytes of logs and scraped metrics to records."""
