"""How a running matrix looks: a bar in a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from replay.commands.matrix.shared import cell_text
from replay.commands.options import say
from traces.text import printable

if TYPE_CHECKING:
    from replay.matrix.results import CellResult

_LINE_EVERY_S = 10.0
#: Unexpected cells that are told as they end; the rest are told at the end.
_TOLD_MAX = 50


class Counts:
    """Done, running, failed and left; how fast it goes."""

    def __init__(self) -> None:
        self.left, self.done, self.failed, self.running, self.before = 0, 0, 0, 0, 0
        self._started = time.monotonic()

    def begin(self, left: int, done: int) -> None:
        """So many are to be run, and so many were done before."""
        self.left, self.before = left, done
        self._started = time.monotonic()

    def count(self, result: CellResult, running: int) -> None:
        """One has ended."""
        self.done += 1
        self.left -= 1
        self.failed += not result.is_expected
        self.running = running

    def __str__(self) -> str:
        """All of it on one line."""
        elapsed_s = time.monotonic() - self._started
        rate = self.done / elapsed_s if elapsed_s else 0.0
        eta = f"{self.left / rate:.0f} s" if rate else "?"
        before = f", {self.before} done before" if self.before else ""
        return (
            f"{self.done} done, {self.running} running, {self.failed} unexpected, "
            f"{self.left - self.running} left{before}; {rate:.1f} cells/s, {eta} to go"
        )


class LineWatcher:
    """Plain lines on stderr."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._next_line = 0.0
        self._told = 0

    def begin(self, left: int, done: int) -> None:
        """Start the clock."""
        self._counts.begin(left, done)
        self._next_line = time.monotonic() + _LINE_EVERY_S

    def ended(self, result: CellResult, running: int) -> None:
        """Tell of an unexpected cell at once, and of all now and then."""
        self._counts.count(result, running)
        if not result.is_expected and self._told < _TOLD_MAX:
            self._told += 1
            self.tell(cell_text(result))
        self.show()

    def tell(self, text: str) -> None:
        """Print something that stays."""
        say(text, err=True)

    def show(self) -> None:
        """Bring the counts up to date."""
        if time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_EVERY_S
            say(f"kvreplay: {self._counts}", err=True)


class BarWatcher(LineWatcher):
    """A bar with counts below what was told."""

    def __init__(self, bar: Any) -> None:
        super().__init__()
        self._bar = bar
        self._task: Any = None

    def begin(self, left: int, done: int) -> None:
        """Draw the empty bar."""
        super().begin(left, done)
        self._task = self._bar.add_task("", total=left, counts="starting workers")

    def tell(self, text: str) -> None:
        """Print above the bar."""
        self._bar.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def show(self) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=self._counts.done, counts=str(self._counts))


@contextmanager
def watching() -> Iterator[LineWatcher]:
    """What watches a matrix run, on stderr."""
    if not sys.stderr.isatty():
        yield LineWatcher()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        TextColumn("{task.fields[counts]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield BarWatcher(bar)
