"""From scraped metrics to records."""
