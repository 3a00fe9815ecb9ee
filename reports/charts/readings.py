"""The audits of a recording by pool and column, as step series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.charts.steps import Integers, Steps


@dataclass(frozen=True, slots=True)
class Series:
    """A column of the audits as charts show it: told apart by its dashes as well as its colour."""

    column: str
    title: str
    #: A name in `PALETTE`.
    colour: str
    #: Lengths of dashes and of what is between them, in pixels; solid when empty.
    dash: tuple[int, ...] = ()


GAP = Series("gap", "gap", "gap")
AVAILABLE = Series("available", "available", "available")
#: Where the other tokens are.
HOLDERS = (
    Series("live", "running", "running"),
    Series("in_transfer", "in transfer", "transfer", (6, 3)),
    Series("evictable", "evictable", "cached", (2, 2)),
    Series("protected", "protected", "protected", (9, 3, 2, 3)),
)


@dataclass(frozen=True, slots=True)
class Readings:
    """Which rows of the audits are whose; the table is sorted by audit number."""

    audits: Any
    rows: dict[str, Integers]

    def steps(self, pool: str, column: str) -> Steps:
        """One column of one pool."""
        return Steps(self.numbers(pool, "time_us"), self.numbers(pool, column))

    def numbers(self, pool: str, column: str) -> Integers:
        """The same without its times."""
        values: Integers = self.audits[column].to_numpy()
        return values[self.rows[pool]]


def read(audits: Any) -> Readings:
    """The audits of every pool that has any, pools in the order of their names."""
    encoded = audits["pool"].combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    names = encoded.dictionary.to_pylist()
    rows = {name: np.flatnonzero(codes == code) for code, name in enumerate(names)}
    return Readings(audits, dict(sorted(rows.items())))
