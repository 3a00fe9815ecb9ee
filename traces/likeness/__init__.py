"""New traces of any size that resemble a given one: fit a model, generate from it."""
