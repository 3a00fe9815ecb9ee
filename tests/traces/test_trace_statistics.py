"""`inspect_trace`: every number counted by hand on a small trace."""

import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_helpers import make_request

import traces.statistics.spill
from replay.cli import run_command_line
from traces.errors import TraceError
from traces.statistics.inspection import inspect_trace
from traces.statistics.spill import SpilledRecords


def _request(index, arrival_us, input_tokens, hashes, **more):
    fields = {"session_id": None, "cancel_us": None, "priority": None, "output_tokens": index + 1}
    return make_request(
        index,
        arrival_us=arrival_us,
        input_tokens=input_tokens,
        block_hashes=None if hashes is None else np.array(hashes, np.uint64),
        **{**fields, **more},
    )


def test_a_trace_counted_by_hand(write_trace):
    path = write_trace(
        [
            _request(0, 0, 40, [1, 2, 3], session_id="s"),  # 16 + 16 + 8, nothing seen
            _request(1, 0, 20, [1, 4], session_id="s", cancel_us=500),  # 16 seen of 16 + 4
            _request(2, 900_000, 100, None, priority=2),
            _request(3, 1_100_000, 40, [1, 2, 3], session_id="t", cancel_us=1_100_100),  # all
            _request(4, 3_000_000, 16, [9], priority=-1),
        ],
        name="glob[*].parquet",
    )
    facts = inspect_trace(path)
    assert facts["path"] == str(path)
    assert (facts["requests"], facts["input_tokens"], facts["output_tokens"]) == (5, 216, 15)
    assert (facts["source"], facts["block_size"], facts["duration_us"]) == ("test", 16, 3_000_000)
    assert facts["per_request"]["input_tokens"] == pytest.approx(
        {"min": 16, "p50": 40, "p90": 76, "p99": 97.6, "max": 100, "mean": 43.2}
    )
    assert facts["per_request"]["inter_arrival_us"] == pytest.approx(
        {
            "min": 0,
            "p50": 550_000,
            "p90": 1_600_000,
            "p99": 1_870_000,
            "max": 1_900_000,
            "mean": 750_000,
        }
    )
    assert facts["rate_per_s"] == pytest.approx({"mean": 4 / 3, "peak_1s": 3, "peak_60s": 5 / 60})
    assert facts["ties"] == {"distinct_arrivals": 4, "largest": 2}
    assert facts["prefix_reuse"] == pytest.approx(
        {
            "requests_with_hashes": 4,
            "blocks": 9,
            "blocks_seen": 4,
            "tokens": 116,
            "tokens_seen": 56,
            "blocks_share": 4 / 9,
            "tokens_share": 56 / 116,
        }
    )
    assert facts["sessions"] == {"count": 2, "requests": 3, "turns_mean": 1.5, "turns_max": 2}
    assert facts["aborts"]["count"] == 2
    assert facts["aborts"]["share"] == pytest.approx(0.4)
    assert facts["aborts"]["after_us"]["mean"] == pytest.approx(300)
    assert facts["priorities"] == {"-1": 1, "2": 1}


@pytest.mark.parametrize("count", [0, 1])
def test_tiny_traces_have_no_rates(write_trace, count):
    facts = inspect_trace(write_trace([_request(0, 5, 3, None)][:count], block_size=None))
    assert facts["requests"] == count
    assert facts["rate_per_s"]["mean"] is None
    assert facts["prefix_reuse"] is None
    assert facts["ties"] == {"distinct_arrivals": count, "largest": count}
    assert facts["per_request"]["inter_arrival_us"]["p50"] is None


def test_a_broken_trace_is_not_described(tmp_path):
    with pytest.raises(TraceError, match="no such file"):
        inspect_trace(tmp_path / "none.parquet")


@pytest.mark.slow
def test_the_published_conversation_log(mooncake_log, tmp_path):
    path = tmp_path / "conv.parquet"
    arguments = ["trace", "import", str(mooncake_log), "--format", "mooncake", "-o", str(path)]
    assert run_command_line(arguments) == 0
    facts = inspect_trace(path)
    assert (facts["requests"], facts["input_tokens"], facts["output_tokens"]) == (
        12031,
        144_793_823,
        4_122_048,
    )
    assert facts["ties"]["distinct_arrivals"] == 1180
    assert facts["prefix_reuse"]["tokens"] == facts["input_tokens"]
    # 182,790 distinct ids (0 to 182,789) among all blocks.
    assert facts["prefix_reuse"]["blocks"] - facts["prefix_reuse"]["blocks_seen"] == 182_790


@pytest.fixture
def small_runs(monkeypatch, tmp_path):
    """Make every trace spill, into a folder of its own, which is returned."""
    folder = tmp_path / "spill"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(traces.statistics.spill, "RUN_RECORDS", 50)
    monkeypatch.setattr(traces.statistics.spill, "GROUP_RECORDS", 20)
    return folder


def _many(count, seed=0):
    generator = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        tokens = int(generator.integers(1, 80))
        # Few different ids: most occur again, as full blocks and as partial ones.
        hashes = generator.integers(0, 60, -(-tokens // 16)) * 2**58
        rows.append(
            _request(
                index,
                index * 3,
                tokens,
                None if index % 7 == 0 else hashes.astype(np.uint64),
                session_id=None if index % 5 == 0 else f"s{generator.integers(0, 40)}",
            )
        )
    return rows


def test_what_spills_is_counted_like_what_does_not(write_trace, small_runs, monkeypatch):
    rows = _many(400)
    path = write_trace(rows)
    spilled = inspect_trace(path)
    seen, blocks_seen, tokens_seen = set(), 0, 0
    for row in rows:
        for place, value in enumerate(
            [] if row.block_hashes is None else row.block_hashes.tolist()
        ):
            if value in seen:
                blocks_seen += 1
                tokens_seen += min(16, row.input_tokens - 16 * place)
            seen.add(value)
    assert spilled["prefix_reuse"]["blocks_seen"] == blocks_seen
    assert spilled["prefix_reuse"]["tokens_seen"] == tokens_seen
    turns = [row.session_id for row in rows if row.session_id]
    assert spilled["sessions"] == {
        "count": len(set(turns)),
        "requests": len(turns),
        "turns_mean": pytest.approx(len(turns) / len(set(turns))),
        "turns_max": max(map(turns.count, turns)),
    }
    monkeypatch.undo()
    assert inspect_trace(path) == spilled


@given(st.lists(st.integers(0, 2**64 - 1), max_size=200), st.integers(1, 30), st.integers(1, 90))
def test_groups_hold_every_record_of_their_keys_in_order(numbers, step, run):
    keys = np.array(numbers + numbers[::2], np.uint64)
    values = np.arange(keys.size, dtype=np.uint32)
    found = {}
    with pytest.MonkeyPatch.context() as patch, SpilledRecords() as records:
        patch.setattr(traces.statistics.spill, "RUN_RECORDS", run)
        patch.setattr(traces.statistics.spill, "GROUP_RECORDS", 7)
        for start in range(0, keys.size, step):
            records.add(keys[start : start + step], values[start : start + step])
        for group_keys, group_values in records.groups():
            group = {}
            for key, value in zip(group_keys.tolist(), group_values.tolist(), strict=True):
                group.setdefault(key, []).append(value)
            assert not group.keys() & found.keys()
            found |= group
    expected = {}
    for key, value in zip(keys.tolist(), values.tolist(), strict=True):
        expected.setdefault(key, []).append(value)
    assert found == expected


@pytest.mark.parametrize("problem", [KeyboardInterrupt, None])
def test_no_temporary_file_is_left(write_trace, small_runs, problem):
    path = write_trace(_many(3 * 4096))
    counts = []

    def interrupt(count):
        counts.append(count)
        if problem is not None and len(counts) == 2:
            raise problem

    try:
        inspect_trace(path, interrupt)
    except KeyboardInterrupt:
        assert problem is KeyboardInterrupt
    assert counts == [4096, 8192, 12288][: 2 if problem else 3]
    assert list(small_runs.iterdir()) == []


def test_numbers_do_not_depend_on_where_batches_end(write_trace):
    generator = np.random.default_rng(1)
    arrival_us = np.cumsum(generator.integers(0, 3, 9000) * 10**5)
    rows = [_request(i, at, i + 1, None) for i, at in enumerate(arrival_us.tolist())]
    facts = inspect_trace(write_trace(rows, block_size=None))
    gaps_us = np.diff(arrival_us)
    spread = facts["per_request"]["inter_arrival_us"]
    assert spread["mean"] == pytest.approx(gaps_us.mean(), rel=1e-12)
    assert spread["p90"] == np.percentile(gaps_us, 90)
    ties = np.unique(arrival_us, return_counts=True)[1]
    assert facts["ties"] == {"distinct_arrivals": ties.size, "largest": ties.max()}
    assert facts["rate_per_s"]["peak_60s"] == np.bincount(arrival_us // 60_000_000).max() / 60
    assert facts["per_request"]["input_tokens"]["p50"] == 4500.5


def test_no_room_for_temporary_files_is_one_sentence(write_trace, small_runs, monkeypatch):
    path = write_trace(_many(100))
    monkeypatch.setattr(tempfile, "tempdir", str(small_runs / "none"))
    with pytest.raises(TraceError, match=r"none: a temporary file cannot be used .* set TMPDIR"):
        inspect_trace(path)


def test_memory_does_not_grow_with_the_prompts(write_trace, small_runs):
    """What is kept in memory while reading is less than a run, however many hashes there are."""
    with SpilledRecords() as records:
        for _ in range(40):
            records.add(np.arange(30, dtype=np.uint64), np.zeros(30, np.uint32))
            assert records._pending_records < 50
        assert max(keys.size for keys, _ in records.groups()) <= 40 * 20
