"""Generate traces of any size that resemble a given trace: fit a model, then draw from it."""
