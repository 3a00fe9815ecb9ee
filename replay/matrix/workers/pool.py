"""What runs the jobs of a matrix: what goes in and what comes out, whoever does the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

#: Does one job, given and returned as plain data.
Task = Callable[[Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one job ended: with a value, or as `timed-out`, `out-of-memory` or `crashed`."""

    key: str
    value: dict[str, Any] | None = None
    state: str = "finished"
    error: str = ""
    worker: str
    seconds: float


class Pool(Protocol):
    """Runs jobs; entered before the first, left after the last or in haste."""

    def __enter__(self) -> Pool:
        """Be ready to run."""

    def __exit__(self, *problem: object) -> None:
        """Let go of everything that runs."""

    def run(
        self, jobs: Iterable[tuple[str, Mapping[str, Any]]], until: float | None = None
    ) -> Iterator[Ended]:
        """Run jobs, given as key and message, taken as there is room; yield each as it ends.

        At `until`, a time of `time.monotonic()`, all is over, whatever is under way.
        """

    def running(self) -> int:
        """How many jobs are under way."""
