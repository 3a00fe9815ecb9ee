"""A shrink as a person reads it: what is left while it runs, and what became of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from replay.commands.options import say, show_path
from replay.recording.words import counted
from replay.shrink.case import Case

Tell = Callable[[Case, int], None]


@contextmanager
def watching() -> Iterator[Tell | None]:
    """What to tell of the best case so far; None when stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("shrinking", total=None)

        def tell(case: Case, tried: int) -> None:
            size = _size(len(case.requests), len(case.rules))
            bar.update(task, description=f"shrinking: {size}, {tried} tried")

        yield tell


def print_text(shrunk: dict[str, Any], out: Path) -> None:
    """Print sizes, gaps and verdicts before and after, and where everything is."""
    before, after = shrunk["before"], shrunk["after"]
    say(
        f"{_size(before['requests'], before['rules'])} -> "
        f"{_size(after['requests'], after['rules'])}"
    )
    for name, facts in (("before", before), ("after", after)):
        kinds = ", ".join(f"{pages} {kind}" for kind, pages in facts["kinds"].items())
        numbers = f"gap {facts['gap']} tokens" + (f"; pages by kind: {kinds}" if kinds else "")
        say(f"  {name}: {facts['verdict']}, {numbers}")
        say(f"    {facts['why']}")
    end = (
        "no request and no rule can be left away"
        if shrunk["minimal"]
        else "not minimal: the budget came to its end; the same command with more goes on"
    )
    say(f"  {end}; {counted(shrunk['tried'], 'candidate')} in {shrunk['timing']['seconds']} s")
    files = shrunk["files"]
    say(f"  {', '.join(files.values())}: {show_path(out)}")
    say(f"  as a test: pytest {show_path(out / files['test'])}")


def _size(requests: int, rules: int) -> str:
    return (
        f"{requests} request{'' if requests == 1 else 's'}, {rules} rule{'' if rules == 1 else 's'}"
    )
