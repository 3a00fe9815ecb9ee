"""The tables behind the charts: what a series comes to in each phase, and what happened in it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reports.charts.timeline import PoolGaps, Timeline
from reports.evidence import Evidence
from reports.parts.tables import ROWS_MAX, Column, Table
from reports.words import counted, number, plain_seconds

#: A phase of the whole window, last in each table.
_ALL = "all"


def series_table(timeline: Timeline) -> Table:
    """The lowest, highest and last value of each series in each phase."""
    rows = []
    spans = [(phase.name, phase.start_us, phase.end_us) for phase in timeline.phases]
    spans.append((_ALL, timeline.window.start_us, timeline.window.end_us))
    for name, start_us, end_us in spans:
        for series in timeline.series:
            steps = timeline.steps[series.column].window(start_us, end_us)
            if len(steps):
                low, high = steps.extremes()
                last = int(steps.value[-1])
                rows.append((name, series.title, number(low), number(high), number(last)))
    return Table(
        f"{timeline.pool} by phase, in tokens; total: {number(timeline.total_tokens)}",
        (
            Column("phase"),
            Column("series"),
            Column("lowest", True),
            Column("highest", True),
            Column("at its end", True),
        ),
        tuple(rows[:ROWS_MAX]),
        len(rows),
    )


def phases_table(evidence: Evidence, timeline: Timeline) -> Table:
    """How long each phase lasted, and how many audits and faulted events it had."""
    audits = evidence.tables["audits"]
    mine = audits.filter(pc.equal(audits["pool"], timeline.pool))
    times, names = mine["time_us"].to_numpy(), mine["phase"]
    window, marks = timeline.window, timeline.marks
    spans = [(phase.name, phase.start_us, phase.end_us) for phase in timeline.phases]
    spans.append((_ALL, window.start_us, window.end_us))
    rows = []
    for name, start_us, end_us in spans:
        # Phases meet at one moment, at which both have audits: their names tell them apart.
        of_phase = name == _ALL or pc.equal(names, pa.scalar(name)).to_numpy()
        seen = np.count_nonzero((times >= start_us) & (times <= end_us) & of_phase)
        last = end_us == window.end_us
        sent = (marks.sent_us >= start_us) & (
            (marks.sent_us <= end_us) if last else (marks.sent_us < end_us)
        )
        rows.append(
            (
                name,
                plain_seconds(start_us),
                plain_seconds(end_us),
                number(int(seen)),
                number(int(np.count_nonzero(sent & marks.here))),
                number(int(np.count_nonzero(sent & ~marks.here))),
            )
        )
    return Table(
        f"Phases, with audits of {timeline.pool} and faulted events by the time of sending",
        (
            Column("phase"),
            Column("from, s", True),
            Column("to, s", True),
            Column("audits", True),
            Column("faulted events, this pool", True),
            Column("other pools", True),
        ),
        tuple(rows[:ROWS_MAX]),
        len(rows),
    )


def gaps_table(gaps: PoolGaps) -> Table:
    """The lowest, highest and last gap of every pool that is drawn, and of all together."""
    drawn = [("all pools together", gaps.total), *gaps.pools]
    rows = [
        (pool, *map(number, steps.extremes()), number(int(steps.value[-1])))
        for pool, steps in drawn
    ]
    more = f"; {counted(gaps.left_out, 'more pool')} not drawn" if gaps.left_out else ""
    return Table(
        f"Gap by pool, in tokens{more}",
        (
            Column("pool"),
            Column("lowest", True),
            Column("highest", True),
            Column("at the end", True),
        ),
        tuple(rows),
        len(rows) + gaps.left_out,
    )
