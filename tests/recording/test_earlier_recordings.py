"""Recordings of earlier versions stay readable: results are texts there, and some times are not said."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.errors import RecordingError
from replay.recording.event_results import Result, split_results
from replay.recording.events import read_events
from replay.recording.file_kinds import RECORDING
from replay.recording.kinds import Outcome
from replay.recording.older import OlderTable
from replay.recording.reader import Recording
from replay.recording.requests import SIDES, RequestRow
from replay.run.options import RunOptions
from replay.run.replay_once import replay
from replay.verdict.judge import judge
from traces.synthesis import write_synthetic_trace
from traces.synthesis_options import SynthesisOptions

#: Every text that a version with one column has written.
OLD_TEXTS = {
    "accepted": ("accepted", None),
    "accepted: released without its acknowledgement": (
        "accepted",
        "released without its acknowledgement",
    ),
    "accepted again": ("accepted-again", None),
    "ignored: already counted": ("ignored", "already counted"),
    "kept: its bytes have not landed": ("kept", "its bytes have not landed"),
    "masked: a success came first": ("masked", "a success came first"),
    "crashed the scheduler": ("crashed", None),
    "lost": ("lost", None),
    "not before the end": ("undelivered", None),
    "aborted while landed": ("aborted", "landed"),
    "timed out": ("timed-out", None),
    "asked its sender, and waits on": ("extended", None),
    "missed: it was running by then": ("missed", "it was running by then"),
}
#: Columns of requests.parquet that recordings of earlier versions lack.
NEW_TIMES = ["prealloc_us", "prefill_waiting_us", "in_flight_us"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    trace = folder / "trace.parquet"
    write_synthetic_trace(SynthesisOptions(requests=40, seed=5, rate_per_s=20.0), trace)
    options = RunOptions(
        trace=str(trace), profile="hardened", drop=0.1, delay=(0.2, 700.0), duplicate=0.2
    )
    replay(options.to_request("cpu"), folder / "new")
    return folder / "new"


@pytest.fixture
def of_an_earlier_version(recorded, tmp_path):
    """The same recording, as a version with the schema kvreplay.run/1 has written it."""
    shutil.copytree(recorded, tmp_path / "old")
    run = json.loads((tmp_path / "old/run.json").read_text())
    (tmp_path / "old/run.json").write_text(json.dumps(run | {"schema": "kvreplay.run/1"}))
    table = pq.read_table(tmp_path / "old/events.parquet")
    texts = [
        Result(Outcome(outcome), detail).text
        for outcome, detail in zip(
            table["outcome"].to_pylist(), table["detail"].to_pylist(), strict=True
        )
    ]
    words = pa.array(texts, pa.string()).dictionary_encode()
    at = table.column_names.index("outcome")
    old = table.drop_columns(["outcome", "detail"]).add_column(at, "result", words)
    pq.write_table(old, tmp_path / "old/events.parquet")
    requests = pq.read_table(tmp_path / "old/requests.parquet")
    pq.write_table(requests.drop_columns(NEW_TIMES), tmp_path / "old/requests.parquet")
    return tmp_path / "old"


@pytest.mark.parametrize("text", OLD_TEXTS)
def test_a_text_of_an_earlier_version_splits_and_reads_the_same(text):
    result = Result.parse(text)
    assert (result.outcome, result.detail) == OLD_TEXTS[text]
    assert result.text == text


@given(st.sampled_from(Outcome), st.none() | st.text(min_size=1).filter(lambda each: each.strip()))
def test_whatever_an_outcome_is_with_it_comes_back_from_its_text(outcome, detail):
    result = Result(outcome, detail)
    assert Result.parse(result.text) == result


@pytest.mark.parametrize("encode", [True, False])
def test_columns_split_row_by_row(encode):
    texts = [*OLD_TEXTS, *reversed(OLD_TEXTS)]
    column = pa.array(texts, pa.string())
    outcomes, details = split_results(column.dictionary_encode() if encode else column)
    pairs = zip(outcomes.to_pylist(), details.to_pylist(), strict=True)
    assert list(pairs) == [OLD_TEXTS[text] for text in texts]


def test_a_recording_of_an_earlier_version_says_the_same(recorded, of_an_earlier_version):
    new, old = Recording.open(recorded), Recording.open(of_an_earlier_version)
    assert old.table("events").to_pydict() == new.table("events").to_pydict()
    names = new.table("events")["request_id"].to_pylist()
    assert read_events(old, set(names)) == read_events(new, set(names))
    assert judge(old) == judge(new)
    streamed = [
        row for batch in old.batches("events", ("outcome", "event")) for row in batch.to_pylist()
    ]
    assert [set(row) for row in streamed] == [{"outcome", "event"}] * len(names)


def test_states_of_an_earlier_recording_begin_when_its_columns_say(of_an_earlier_version):
    old = Recording.open(of_an_earlier_version)
    for row in RequestRow.of_rows(old.table("requests")):
        starts = {stay.state: stay.start_us for side in SIDES for stay in row.stays(side)}
        assert starts["prealloc"] == row.arrival_us
        assert starts.get("prefill-waiting", -1) == row.preallocated_us
        assert starts.get("in-flight", -1) == row.transfer_start_us
    assert "absent" not in starts
    (batch,) = old.batches("requests", ("in_flight_us",))
    assert (
        batch["in_flight_us"].to_pylist() == old.table("requests")["transfer_start_us"].to_pylist()
    )


@pytest.mark.parametrize(
    ("decode_allocates", "offered"), [("before-prefill", 0), ("after-prefill", 7)]
)
def test_decode_knew_of_a_request_at_once_or_not_before_it_gave_pages(decode_allocates, offered):
    rows = pa.table({"arrival_us": [0], "preallocated_us": [7], "transfer_start_us": [9]})
    older = OlderTable("requests", decode_allocates, rows.column_names)
    assert older.complete(rows, ["prealloc_us"])["prealloc_us"].to_pylist() == [offered]


def test_the_place_of_a_recording_of_an_earlier_version_can_be_used_again(of_an_earlier_version):
    table = RECORDING.entries["events.parquet"]
    assert table.is_ours(of_an_earlier_version / "events.parquet")


def test_a_result_that_no_version_writes_is_told_with_its_file(of_an_earlier_version):
    path = of_an_earlier_version / "events.parquet"
    table = pq.read_table(path)
    at = table.column_names.index("result")
    words = pa.array(["eaten"] * len(table), pa.string())
    pq.write_table(table.set_column(at, "result", words), path)
    with pytest.raises(RecordingError, match=r"events\.parquet: 'eaten' is not the result of an"):
        Recording.open(of_an_earlier_version).table("events")


def test_an_outcome_that_this_version_does_not_know_is_told(recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "odd")
    path = tmp_path / "odd/events.parquet"
    table = pq.read_table(path)
    at = table.column_names.index("outcome")
    words = pa.array(["eaten"] * len(table), pa.string())
    pq.write_table(table.set_column(at, "outcome", words), path)
    recording = Recording.open(tmp_path / "odd")
    names = set(table["request_id"].to_pylist())
    with pytest.raises(RecordingError, match=r"events\.parquet: 'eaten' is not a valid Outcome"):
        read_events(recording, names)


def test_a_column_that_was_added_later_is_null_in_a_recording_of_before(
    recorded, tmp_path, monkeypatch
):
    before = tmp_path / "before"
    shutil.copytree(recorded, before)
    path = before / "requests.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["prefix_pages"]), path)
    with pytest.raises(RecordingError, match="no column prefix_pages"):
        Recording.open(before).table("requests")
    monkeypatch.setattr(
        "replay.recording.older.COLUMNS_ADDED_LATER", {"requests": frozenset({"prefix_pages"})}
    )
    table = Recording.open(before).table("requests")
    assert table["prefix_pages"].null_count == table.num_rows > 0
    [*batches] = Recording.open(before).batches("requests", ["prefix_pages", "request_id"])
    assert pa.Table.from_batches(batches)["request_id"] == table["request_id"]
    assert pa.Table.from_batches(batches)["prefix_pages"].null_count == table.num_rows
    assert judge(Recording.open(before)).summary == judge(Recording.open(recorded)).summary
