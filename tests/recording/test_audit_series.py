"""Audits read as a stream say the same as audits held whole, however the table is cut."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.recording.audits import read_audits
from replay.recording.reader import Recording
from replay.recording.tables import AUDITS_SCHEMA

POOLS = ("decode0/dp0", "decode0/dp1", "prefill0/dp0")
PHASES = ("inject", "heal", "repeat-1")


@st.composite
def audit_rows(draw):
    rows = []
    size = draw(st.integers(0, 40))
    phases = sorted(draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)))
    for number, phase in enumerate(phases):
        rows.append(
            {
                "audit": number,
                "time_us": number * 3,
                "pool": draw(st.sampled_from(POOLS)),
                "phase": PHASES[phase],
                **dict.fromkeys(("available", "evictable", "protected", "live", "in_transfer"), 0),
                "gap": draw(st.sampled_from([0, 0, 0, 64, 128, 128, -64])),
                "quiet": draw(st.booleans()),
                "iterations": draw(st.integers(0, 5)),
                "engine_check": "none",
            }
        )
    return rows


def slow_spans(rows):
    """The stretches of one pool's audits with a gap, by walking the rows."""
    spans = []
    for pool in POOLS:
        inside = []
        for row in [row for row in rows if row["pool"] == pool] + [None]:
            if row is not None and row["gap"]:
                inside.append(row)
                continue
            if inside:
                widest = max(inside, key=lambda each: abs(each["gap"]))
                quiet = [each for each in inside if each["quiet"]]
                quietest = max(quiet, key=lambda each: abs(each["gap"])) if quiet else None
                spans.append(
                    (
                        inside[0]["audit"],
                        pool,
                        inside[0]["time_us"],
                        widest["audit"],
                        widest["gap"],
                        quietest and quietest["audit"],
                        quietest and quietest["gap"],
                        inside[-1]["gap"],
                        row and row["audit"],
                        row and row["time_us"],
                    )
                )
            inside = []
    return sorted(spans, key=lambda span: span[:2])


@pytest.mark.slow
@given(audit_rows(), st.sampled_from([1, 2, 5, 50]), st.booleans())
def test_the_stream_says_what_the_rows_say(rows, batch_rows, is_reversed):
    table = pa.Table.from_pylist(rows[::-1] if is_reversed else rows, AUDITS_SCHEMA)
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(table, Path(folder) / "audits.parquet")
        series = read_audits(Recording(Path(folder), {}), batch_rows)
    assert [
        (
            span.opened_audit,
            span.pool,
            span.opened_us,
            span.widest_audit,
            span.gap_tokens,
            span.quiet_audit,
            span.quiet_gap_tokens,
            span.last_gap_tokens,
            span.closed_audit,
            span.closed_us,
        )
        for span in series.spans
    ] == slow_spans(rows)
    assert (series.rows, series.iterations) == (len(rows), sum(r["iterations"] for r in rows))
    assert series.last_audits == {row["phase"]: row["audit"] for row in rows}
    for phase in PHASES:
        expected = {row["pool"]: row["gap"] for row in rows if row["phase"] == phase}
        assert series.last_gaps.get(phase, {}) == expected
