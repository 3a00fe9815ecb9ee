"""Does every table say truly of how many rows it shows some? Counted a second time, another way."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow.compute as pc

from reports.evidence import Evidence
from reports.parts import tables
from reports.parts.tables import Table
from reports.reconcile import Check
from reports.words import number


def check_tables(evidence: Evidence, shown: Sequence[Table]) -> tuple[Check, ...]:
    """Rows that each table says there are, against the recording."""
    counts = _counts(evidence)
    return tuple(
        Check(
            f"rows of the table \u201c{table.caption}\u201d = rows of the recording",
            number(table.of),
            number(counts[table.caption]),
            table.of == counts[table.caption] and len(table.rows) == min(table.of, tables.ROWS_MAX),
        )
        for table in shown
        if table.caption in counts
    )


def _counts(evidence: Evidence) -> dict[str, int]:
    counts = {
        tables.EPISODES: evidence.tables["episodes"].num_rows,
        tables.CONTENTS: evidence.tables["contents"].num_rows,
        tables.UNFINISHED: evidence.summary["requests"]["stuck"],
    }
    if (worst := evidence.worst) is not None:
        each = pc.value_counts(evidence.tables["events"]["request_id"]).to_pylist()
        by_request = {count["values"]: count["counts"] for count in each}
        counts[tables.OWNERS] = len(worst.owners)
        names = {owner.request_id for owner in worst.owners}
        counts[tables.EVENTS] = sum(by_request.get(name, 0) for name in names)
    return counts
