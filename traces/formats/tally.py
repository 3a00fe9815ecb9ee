"""What became of the rows of the logs of one import: nothing is dropped without a count."""

from __future__ import annotations

from dataclasses import dataclass, field


class RowSkipped(Exception):  # noqa: N818 - a row that is left out is no error
    """A row cannot be a request; the message is the reason. Never leaves `traces.formats`."""


@dataclass(frozen=True, slots=True)
class RowCount:
    """How many rows share a reason, and where the first of them stands (`line 2`)."""

    rows: int
    first_at: str


@dataclass(slots=True)
class ImportTally:
    """Counts of one import, over all its files.

    Attributes:
        rows_read: rows seen, good and bad; blank lines and headers are not rows.
        skipped: reason -> rows that were left out for it.
        changed: reason -> rows that were kept, but not with everything the log said.
        block_size: tokens one block hash covers, once a row has said so.
        columns_seen: columns the user mapped that some log has.
    """

    rows_read: int = 0
    skipped: dict[str, RowCount] = field(default_factory=dict)
    changed: dict[str, RowCount] = field(default_factory=dict)
    block_size: int | None = None
    columns_seen: set[str] = field(default_factory=set)

    def skip(self, reason: str, place: str) -> None:
        """Count one row that cannot be used."""
        _count(self.skipped, reason, place)

    def change(self, reason: str, place: str) -> None:
        """Count one row that lost something on its way into the trace."""
        _count(self.changed, reason, place)


def _count(counts: dict[str, RowCount], reason: str, place: str) -> None:
    former = counts.get(reason)
    counts[reason] = (
        RowCount(1, place) if former is None else RowCount(former.rows + 1, former.first_at)
    )
