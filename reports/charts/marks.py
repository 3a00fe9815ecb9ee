"""Fault marks: events that rules touched, as columns, thinned to what a screen can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reports.charts.steps import Integers

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
        return self._some(
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
        return self._some(np.sort(first))

    def _some(self, rows: Integers) -> Marks:
        return Marks(
            self.names,
            self.fault[rows],
            self.sent_us[rows],
            self.delivered_us[rows],
            self.here[rows],
        )


def read_marks(events: Any, pool: str) -> Marks:
    """Every event that a rule touched."""
    import pyarrow.compute as pc

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
