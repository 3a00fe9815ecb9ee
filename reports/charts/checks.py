"""Do the charts show what the recording says? Checked from what the page really draws from."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow.compute as pc

from reports.charts.figures import Charts
from reports.charts.live import Live
from reports.charts.steps import Integers
from reports.evidence import Evidence
from reports.reconcile import Check
from reports.words import counted, number


def check_charts(evidence: Evidence, charts: Charts | None) -> tuple[Check, ...]:
    """What the live charts draw against the tables of the recording; nothing where none is drawn."""
    if charts is None:
        return ()
    live = charts.live
    return (_series_agree(evidence, live), _windows_agree(evidence, live), _marks(evidence, live))


def _series_agree(evidence: Evidence, live: Live) -> Check:
    """The data goes the way of the page: decoded from the differences, not from what made them."""
    audits = evidence.tables["audits"]
    agree = of = 0
    for pool in live.document["pools"]:
        rows = audits.filter(pc.equal(audits["pool"], pool["name"]))
        for column, (_, differences) in pool["series"].items():
            values = np.cumsum(np.array(differences, np.int64))
            truth = pc.min_max(rows[column]).as_py()
            expected = (truth["min"], truth["max"], rows[column][-1].as_py())
            agree += (int(values.min()), int(values.max()), int(values[-1])) == expected
            of += 1
    return Check(
        "lowest, highest and last value of each series in the timeline = those of the audits",
        f"{number(agree)} agree",
        f"{number(of)} in all",
        agree == of,
    )


def _windows_agree(evidence: Evidence, live: Live) -> Check:
    """Every change that audits saw at full resolution is a point of the chart, and nothing else."""
    audits = evidence.tables["audits"]
    drawn = seen = 0
    for pool in live.document["pools"]:
        rows = audits.filter(pc.equal(audits["pool"], pool["name"]))
        time_us = rows["time_us"].to_numpy()
        for column, (differences, _) in pool["series"].items():
            times = np.cumsum(np.array(differences, np.int64))[:-1]
            values = rows[column].to_numpy()
            changed = time_us[np.diff(values, prepend=values[:1] - 1) != 0]
            for start_us, end_us in list(pairwise(pool["full"]))[::2]:
                drawn += _between(times, start_us, end_us)
                seen += _between(changed, start_us, end_us)
    return Check(
        "points of the timeline at full resolution = changes from one audit to the next",
        number(drawn),
        number(seen),
        drawn == seen,
    )


def _between(times: Integers, start_us: int, end_us: int) -> int:
    first = np.searchsorted(times, start_us, side="left")
    return int(np.searchsorted(times, end_us, side="right") - first)


def _marks(evidence: Evidence, live: Live) -> Check:
    touched = pc.sum(evidence.tables["events"]["rule"].is_valid()).as_py() or 0
    drawn = len(live.document["faults"]["fault"])
    left_out = live.marks_of - drawn
    return Check(
        "fault marks drawn + left out for want of room = events that a rule touched",
        f"{number(drawn)} + {number(left_out)} = {counted(drawn + left_out, 'mark')}",
        number(touched),
        drawn + left_out == touched,
    )
