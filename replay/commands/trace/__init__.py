"""The verbs of `kvreplay trace`, one module each."""
