"""One module per command-line verb; `replay.cli` imports them only when they are asked for."""
