"""What the trace verbs share: the output option, tables and progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    help="Trace to write (Parquet); the same trace made earlier is replaced when all went well.",
)
FORCE = click.option(
    "--force", is_flag=True, help="Replace a trace that was made from something else, too."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def example(*lines: str) -> str:
    """Return an epilog that keeps its line breaks."""
    # click keeps the line breaks of a paragraph that starts with a backspace.
    return "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))


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


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None] | None]:
    """Show a progress bar on stderr when it is a terminal; give the function that moves it."""
    with progress_steps((label, total)) as (advance,):
        yield advance


@contextmanager
def progress_steps(
    *steps: tuple[str, int | None],
) -> Iterator[list[Callable[..., None] | None]]:
    """Show a bar for each step (label, total) on a terminal; give the functions that move them.

    A function takes how much is done and, where it was not known before, of how much.
    """
    if not sys.stderr.isatty():
        yield [None] * len(steps)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:

        def mover(label: str, total: int | None) -> Callable[..., None]:
            task = bars.add_task(label, total=total)
            return lambda done, total=total: bars.update(task, completed=done, total=total)

        yield [mover(label, total) for label, total in steps]
