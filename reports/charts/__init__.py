"""The charts of a recording: series reduced for a screen, drawn by Altair, and what stands beside them."""
