"""Runs labelled cells in several processes and gives their outcomes in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from labelled.trial import Outcome, run_trial
from replay.errors import ReplayError
from replay.matrix.pool import LocalPool


def run_cells(
    seed: int, numbers: Iterable[int], jobs: int, progress: Callable[[int], None] | None = None
) -> Iterator[Outcome]:
    """Run the cells of these numbers; their order does not depend on how many run at once.

    Raises:
        ReplayError: the process of a cell has died.
        MatrixError: a cell raised.
    """
    outcomes = {}
    with LocalPool(run_trial, jobs) as pool:
        messages = ((str(number), {"seed": seed, "number": number}) for number in numbers)
        for ended in pool.run(messages):
            if ended.value is None:
                raise ReplayError(f"labelled cell {ended.key} of seed {seed}: {ended.error}")
            outcomes[int(ended.key)] = Outcome(**ended.value)
            if progress is not None:
                progress(1)
    yield from (outcomes[number] for number in sorted(outcomes))
