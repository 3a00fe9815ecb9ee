"""`kvreplay matrix`: its verbs by name."""

from __future__ import annotations

import click

from replay.commands.lazy_group import LazyGroup

_VERBS: dict[str, tuple[str, str]] = {
    "run": (
        "replay.commands.matrix.run.run",
        "Run every cell and say which went other than expected.",
    ),
    "list": ("replay.commands.matrix.list_cells.list_cells", "Show the cells; nothing runs."),
    "merge": ("replay.commands.matrix.merge.merge", "Put the shards of a matrix together."),
}


@click.group(cls=LazyGroup, lazy_commands=_VERBS)
def matrix() -> None:
    """Run many replays that one file describes, and check each against what is expected of it."""
