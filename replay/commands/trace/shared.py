"""What the trace verbs share: options, examples and tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replay.commands.options import say_json
from traces.text import shortened

if TYPE_CHECKING:
    from rich.text import Text

OUTPUT = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="TRACE",
    help="Trace to write (Parquet). An earlier result of the same command is replaced.",
)
FORCE = click.option("--force", is_flag=True, help="Replace any trace at the output path.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def cell(text: str) -> Text:
    """What a table shows of a text: not markup, and little, for time grows with its square."""
    from rich.text import Text

    return Text(shortened(text, 1_000, lines=True))


def print_table(title: str, rows: list[tuple[str, str, str]]) -> None:
    """Print rows of name, value and note (all may be untrusted text)."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=cell(title), show_header=False, title_justify="left")
    width = 3 if any(note for _, _, note in rows) else 2
    for style in ("bold", None, "dim")[:width]:
        table.add_column(style=style, overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row[:width]))
    Console().print(table)


def print_made(path: Path, **facts: Any) -> None:
    """Print what was written to `path` as one JSON object, with some facts of its making."""
    from traces.dataset import open_trace

    made = open_trace(path)
    described = {"source": made.source, "block_size": made.block_size, "sha256": made.sha256()}
    say_json({"path": str(path), **facts, **described}, indent=None)
