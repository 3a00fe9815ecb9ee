"""A recording of any length, made of a small one in a second: the small one many times over.

Every time, audits, events, owners and requests get numbers, times and names of their own, so that
every equation that held still holds, and the verdict is made anew from what comes out. From the
command line: `python tests/helpers/million_audits.py OUT --audits 1000000 RECORDING [LAST]`.
"""

import argparse
import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from replay.recording.reader import Recording
from replay.recording.tables import EPISODES_SCHEMA, TABLES
from replay.verdict.judge import judge


def make_long_recording(source, out, audits=1_000_000, last=None):
    """A recording of at least `audits` audits: `source` over and over, then `last` once.

    `source` must end as clean as it began. `last`, of the same profile and trace, may end in a
    leak; by default it is `source` too.
    """
    last = last or source
    body, end = Recording.open(source), Recording.open(last)
    times = max(math.ceil((audits - _rows(end)) / _rows(body)), 0)
    out.mkdir(parents=True)
    steps = _steps(body)
    for name, schema in TABLES.items():
        table, ending = body.table(name), end.table(name)
        copies = [_moved(table, steps, each, name) for each in range(times)]
        copies.append(_moved(ending, steps, times, None))
        pq.write_table(pa.concat_tables(copies).cast(schema), out / f"{name}.parquet")
    (out / "run.json").write_text(json.dumps(_run(body, end, times, steps)))
    _write_verdict(out)
    return out


def _rows(recording):
    return recording.table("audits").num_rows


def _steps(recording):
    """How far each kind of number moves from one copy to the next."""
    audits, events = recording.table("audits"), recording.table("events")
    ends = [phase["end_us"] for phase in recording.run["phases"]]
    rooms = pc.max(recording.table("requests")["bootstrap_room"]).as_py()
    return {
        "us": max(*ends, pc.max(audits["time_us"]).as_py()) + 1_000,
        "audit": pc.max(audits["audit"]).as_py() + 1,
        "event": pc.max(events["event"]).as_py() + 1,
        "room": rooms + 1,
    }


def _moved(table, steps, at, name):
    """One copy; in all but the last one, whose name is None, nothing has begun to heal."""
    for column in table.column_names:
        kind = column.rsplit("_", 1)[-1]
        values = table[column]
        if kind in steps:
            # What never happened has no time, or the time -1.
            happened = pc.greater_equal(values, 0)
            values = pc.if_else(happened, pc.add(values, steps[kind] * at), values)
        elif column == "request_id":
            values = pc.binary_join_element_wise(values, f"#{at}", "")
        elif column == "phase" and name is not None:
            values = pa.array(["inject"] * table.num_rows)
        table = table.set_column(table.column_names.index(column), column, values)
    return table


def _run(body, end, times, steps):
    moved = steps["us"] * times
    run = dict(end.run)
    run["phases"] = [
        {
            **phase,
            "start_us": phase["start_us"] + moved * (phase["phase"] != "inject"),
            "end_us": phase["end_us"] + moved,
        }
        for phase in end.run["phases"]
    ]
    copies = {"requests": body.run["trace"]["requests"] * times + end.run["trace"]["requests"]}
    run["trace"] = end.run["trace"] | copies
    totals, more = body.run["faults"]["totals"], end.run["faults"]["totals"]
    run["faults"] = end.run["faults"] | {
        "totals": {
            name: (totals[name] * times if name in ("planned", "landed", "observed") else 0) + count
            for name, count in more.items()
        }
    }
    return run


def _write_verdict(out):
    pq.write_table(EPISODES_SCHEMA.empty_table(), out / "episodes.parquet")
    summary = {**judge(Recording.open(out)).summary, "recording_sha256": "", "timing": {}}
    (out / "summary.json").write_text(json.dumps(summary))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("recording", type=Path)
    parser.add_argument("last", type=Path, nargs="?")
    parser.add_argument("--audits", type=int, default=1_000_000)
    given = parser.parse_args()
    make_long_recording(given.recording, given.out, given.audits, given.last)
