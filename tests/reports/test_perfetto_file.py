"""The trace file: sound by the rules of its format, and with as many slices as the tables have."""

import gzip
import json

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_helpers import HOSTILE, copy_changed
from trace_event_checker import Checked

from replay.cli import run_command_line
from replay.errors import RecordingError
from reports.outputs.perfetto.trace_file import Lanes
from reports.outputs.perfetto.writing import write_perfetto

NAMES = ("clean", "leak", "late", "busy", "over-free")


@pytest.fixture(scope="module")
def written(recordings, tmp_path_factory):
    """Of every recording its trace file, checked, and what was said of it."""
    root = tmp_path_factory.mktemp("traces")
    found = {}
    for name in NAMES:
        path = root / f"{name}.json.gz"
        summary = write_perfetto(recordings[name], path, compress=True)
        found[name] = Checked(json.loads(gzip.decompress(path.read_bytes()))), summary
    return found


def rows(recording, table):
    return pq.read_table(recording / f"{table}.parquet").to_pylist()


def end_of(recording):
    return max(
        phase["end_us"] for phase in json.loads((recording / "run.json").read_text())["phases"]
    )


def states(row, end_us):
    """(side, state, start, end) of a request, told anew from its row."""
    ended = row["ended_us"] if row["ended_us"] >= 0 else end_us
    gone = row["prefill_ended_us"] if row["prefill_ended_us"] >= 0 else end_us
    gave_up = -1 if row["gave_up_us"] == row["ended_us"] else row["gave_up_us"]
    sides = {
        "prefill": (
            gone,
            [
                ("bootstrap", row["arrival_us"]),
                ("prefill-waiting", row["prefill_waiting_us"]),
                ("prefilling", row["prefill_start_us"]),
                ("in-flight", row["in_flight_us"]),
            ],
        ),
        "decode": (
            ended,
            [
                ("prealloc", row["arrival_us"]),
                ("transfer", row["preallocated_us"]),
                ("moving", row["transfer_start_us"]),
                ("landed", row["landed_us"]),
                ("waiting", row["consumed_us"]),
                ("running", row["running_us"]),
                ("deferred", gave_up),
            ],
        ),
    }
    for side, (last, begun) in sides.items():
        begun = [(state, at) for state, at in begun if 0 <= at <= last]
        for (state, start), (_, end) in zip(begun, [*begun[1:], ("", last)], strict=True):
            if end > start:
                yield side, state, start, end


def was_there(request, event, end_us):
    """Whether the request was still on both sides, when the event was sent and when it came."""
    ends = {"prefill": request["prefill_ended_us"], "decode": request["ended_us"]}
    ends = {side: end_us if end < 0 else end for side, end in ends.items()}
    sender = "prefill" if event["direction"] == "decode" else "decode"
    return (
        request["arrival_us"] <= event["sent_us"] < ends[sender]
        and event["sent_us"] <= event["delivered_us"] <= ends[event["direction"]]
        and event["pool"] == request[f"{event['direction']}_pool"]
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_state_of_every_request_is_a_slice(recordings, written, name):
    trace, _ = written[name]
    end_us = end_of(recordings[name])
    requests = rows(recordings[name], "requests")
    expected = sorted(state for row in requests for state in states(row, end_us))
    drawn = sorted(
        (event["cat"], event["name"], event["ts"], event["ts"] + event["dur"])
        for side in ("prefill", "decode")
        for event in trace.of(side)
    )
    assert drawn == expected


@pytest.mark.parametrize("name", NAMES)
def test_the_counts_that_are_told_are_those_of_the_file_and_the_tables(recordings, written, name):
    trace, summary = written[name]
    assert summary.counts == {kind: count for kind, count in trace.counts.items() if count}
    requests, events = rows(recordings[name], "requests"), rows(recordings[name], "events")
    assert trace.counts["prefill request"] == trace.counts["decode request"] == len(requests)
    assert trace.counts["transfer"] == sum(
        row["landed_us"] > row["transfer_start_us"] >= 0 for row in requests
    )
    assert trace.counts["fault"] + trace.counts["fault mark"] == sum(
        row["rule"] is not None for row in events
    )
    came = [row for row in events if row["delivered_us"] is not None]
    assert summary.arrows.deliveries == len(came)
    by_name = {row["request_id"]: row for row in requests}
    end_us = end_of(recordings[name])
    assert trace.counts["arrow"] == sum(
        was_there(by_name[row["request_id"]], row, end_us) for row in came
    )
    assert trace.counts["episode"] == len(rows(recordings[name], "episodes"))


@pytest.mark.parametrize("name", NAMES)
def test_counters_change_where_audits_do(recordings, written, name):
    trace, _ = written[name]
    last, expected = {}, 0
    for row in sorted(rows(recordings[name], "audits"), key=lambda row: row["audit"]):
        for column in ("available", "evictable", "protected", "live", "in_transfer", "gap"):
            key = row["pool"], column
            expected += last.get(key) != row[column]
            last[key] = row[column]
    assert trace.counts["counter"] == expected
    ends = {
        (trace.processes[event["pid"]], event["name"].replace(" ", "_")): event["args"]["tokens"]
        for event in trace.events
        if event["ph"] == "C"
    }
    assert ends == last


def test_a_counter_goes_on_from_one_batch_of_audits_to_the_next(recordings, written, monkeypatch):
    from replay.recording import audits as audit_series
    from replay.recording.reader import Recording
    from reports.outputs.perfetto import writing

    class Counted:
        count = 0

        def counters(self, name, pid, times_us, tokens):
            self.count += len(list(tokens))

    def small(recording, columns):
        return audit_series.audits_in_order(recording, columns, 7)

    monkeypatch.setattr(writing, "audits_in_order", small)
    recording = Recording.open(recordings["leak"])
    pids = {pool["pool"]: 1 for pool in recording.run["pools"]}
    file = Counted()
    writing.write_counters(file, recording, pids)
    assert file.count == written["leak"][0].counts["counter"]


def test_a_lost_event_is_a_mark_and_a_late_one_a_slice_as_long_as_it_was_late(recordings, written):
    trace, _ = written["leak"]
    lost = [row for row in rows(recordings["leak"], "events") if row["outcome"] == "lost"]
    late = [row for row in rows(recordings["leak"], "events") if row["fault"] == "delay"]
    marks = {(event["ts"], event["args"]["request_id"]) for event in trace.of("fault mark")}
    assert lost and marks == {(row["sent_us"], row["request_id"]) for row in lost}
    slices = {(event["ts"], event["dur"], event["args"]["event"]) for event in trace.of("fault")}
    assert late and slices == {
        (row["due_us"], row["delivered_us"] - row["due_us"], row["event"]) for row in late
    }


def test_names_from_outside_are_text(written):
    leak, over_free = written["leak"][0], written["over-free"][0]
    assert any(event["name"] == f"r2{HOSTILE}" for event in leak.of("decode request"))
    assert any(HOSTILE in name for _, name in over_free.threads.values())


def test_the_same_recording_gives_the_same_bytes(recordings, tmp_path):
    for name in ("a.json.gz", "b.json.gz"):
        write_perfetto(recordings["leak"], tmp_path / name, compress=True)
    first = (tmp_path / "a.json.gz").read_bytes()
    assert first == (tmp_path / "b.json.gz").read_bytes()
    assert first[3:8] == bytes(5), "neither a name nor a time in its header"
    write_perfetto(recordings["leak"], tmp_path / "c.json", compress=False)
    plain = gzip.decompress((tmp_path / "a.json.gz").read_bytes())
    assert (tmp_path / "c.json").read_bytes() == plain


def test_a_trace_of_nothing_that_happened_is_sound(recordings, tmp_path):
    """Tables without rows, as a replay that ended at once has."""
    copy = copy_changed(recordings["clean"], tmp_path / "copy")
    for path in copy.glob("*.parquet"):
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    summary = write_perfetto(copy, tmp_path / "empty.json", compress=False)
    trace = Checked(json.loads((tmp_path / "empty.json").read_text()))
    assert summary.slices == trace.counts["phase"]


def test_a_recording_that_does_not_fit_together_is_said(recordings, tmp_path):
    copy = copy_changed(recordings["leak"], tmp_path / "copy")
    run = json.loads((copy / "run.json").read_text())
    run["pools"] = run["pools"][:1]
    (copy / "run.json").write_text(json.dumps(run))
    with pytest.raises(RecordingError, match="do not fit together"):
        write_perfetto(copy, tmp_path / "x.json", compress=False)


def test_the_command_says_how_much_it_wrote(recordings, work_dir, capsys):
    leak = str(recordings["leak"])
    assert run_command_line(["report", leak, "--perfetto", "t/leak.json.gz", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    [output] = told["outputs"]
    trace = Checked(json.loads(gzip.decompress((work_dir / "t" / "leak.json.gz").read_bytes())))
    assert output["slices"] == sum(event["ph"] == "X" for event in trace.events)
    assert told["verdicts"][0]["verdict"] == "persistent"
    assert not (work_dir / "report.html").exists()


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=60).map(
        lambda spans: sorted((start, start + length) for start, length in spans)
    )
)
def test_lanes_are_few_and_nothing_overlaps_on_one(spans):
    made = []
    lanes = Lanes(lambda number: made.append(number) or number)
    taken = {}
    for start, end in spans:
        lane = lanes.take(start, end)
        assert all(other <= start for other in taken.get(lane, []))
        taken.setdefault(lane, []).append(end)
    busiest = max(
        (sum(s <= at < e or s == e == at for s, e in spans) for at, _ in spans), default=0
    )
    assert len(made) <= max(busiest, bool(spans))
