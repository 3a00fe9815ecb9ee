"""What is written of recordings beside the page, and all of it put into place together."""
