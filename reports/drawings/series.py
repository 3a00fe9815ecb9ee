"""What drawings read of a recording: its audits by pool and column, and the events that rules touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from reports.drawings.steps import Integers, Steps


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


#: The delivery time of an event that never arrived.
NEVER = -1


@dataclass(frozen=True, slots=True)
class Marks:
    """Faulted deliveries by time of sending: which fault, when delivered, whether of this pool."""

    #: The names of the faults that `fault` counts.
    names: tuple[str, ...]
    fault: Integers
    sent_us: Integers
    delivered_us: Integers
    here: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.fault)

    def window(self, start_us: int, end_us: int) -> Marks:
        """Those that are sent or arrive within a window."""
        last = np.maximum(self.delivered_us, self.sent_us)
        return self.some(
            np.flatnonzero(
                ((self.sent_us >= start_us) & (self.sent_us <= end_us))
                | ((last >= start_us) & (last <= end_us))
            )
        )

    def reduce(self, start_us: int, end_us: int, columns: int) -> Marks:
        """At most one for each fault, column and side, the first of each; lost ones are kept
        apart from those that came late.
        """
        span = max(end_us - start_us, 1)
        column = np.clip((self.sent_us - start_us) * columns // span, 0, columns)
        key = (self.fault * 2 + self.here) * 2 + (self.delivered_us == NEVER)
        _, first = np.unique(key * (columns + 1) + column, return_index=True)
        return self.some(np.sort(first))

    def some(self, rows: Integers) -> Marks:
        """Those in these rows."""
        return Marks(
            self.names,
            self.fault[rows],
            self.sent_us[rows],
            self.delivered_us[rows],
            self.here[rows],
        )


def read_marks(events: Any, pool: str) -> Marks:
    """Every event that a rule touched."""
    touched = events.filter(events["rule"].is_valid()).sort_by(
        [("sent_us", "ascending"), ("event", "ascending"), ("copy", "ascending")]
    )
    faults = pc.fill_null(touched["fault"], "").combine_chunks().dictionary_encode()
    names = faults.dictionary.to_pylist()
    ranked = {name: at for at, name in enumerate(sorted(names))}
    codes = np.array([ranked[name] for name in names], np.int64)
    return Marks(
        tuple(ranked),
        codes[faults.indices.to_numpy(zero_copy_only=False)],
        touched["sent_us"].to_numpy(),
        pc.fill_null(touched["delivered_us"], NEVER).to_numpy(),
        pc.equal(touched["pool"], pool).to_numpy(),
    )
