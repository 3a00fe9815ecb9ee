"""What moves between the two sides, when, and who stops waiting for it."""

import pyarrow.parquet as pq
import pytest
from engine_helpers import HARDENED, replay_small

from faults.rule import FaultRule
from replay.pool.storage import KvStorage
from replay.profiles.defects import all_defects
from replay.verdict.rules import objections
from traces.schema import TraceRequest

#: What a prefill batch of 250 tokens takes, and how long a chunk of 250 pages moves by default.
CHUNK_COMPUTED_US, CHUNK_MOVED_US = 5_000 + 250 * 15, 1_500 + 250 * 20
LONG = [TraceRequest("r", 0, 1_000, 20)]
FOUR_CHUNKS = {"chunked_prefill_tokens": 250}
#: How much later than its cause an idle engine looks at something.
POLL_US = 1_000


def fault(kind, direction="decode", **conditions):
    return FaultRule("rule", kind, direction=direction, **conditions)


def events(folder, direction="decode"):
    rows = pq.read_table(folder / "recording" / "events.parquet").to_pylist()
    return [row for row in rows if row["direction"] == direction]


def defect(name):
    return all_defects()[name].changes


@pytest.fixture
def landings(monkeypatch):
    """The decode pages of every landing, in order."""
    seen, receive = [], KvStorage.receive

    def spy(storage, pages, *rest):
        seen.append(pages.tolist())
        return receive(storage, pages, *rest)

    monkeypatch.setattr(KvStorage, "receive", spy)
    return seen


def in_order(landings):
    return [page for pages in landings for page in pages]


@pytest.mark.parametrize("sends_chunks", [True, False])
def test_chunks_are_sent_as_they_are_computed(tmp_path, landings, sends_chunks):
    run = replay_small(tmp_path, HARDENED, LONG, sends_chunks=sends_chunks, **FOUR_CHUNKS)
    row = run.requests["r"]
    computed_us = row["prefill_start_us"] + 4 * CHUNK_COMPUTED_US
    if sends_chunks:
        assert row["transfer_start_us"] == row["prefill_start_us"] + CHUNK_COMPUTED_US
        assert row["landed_us"] == computed_us + CHUNK_MOVED_US
    else:
        assert row["transfer_start_us"] == computed_us
        assert row["landed_us"] == computed_us + 1_500 + 1_000 * 20
    assert len(landings) == (4 if sends_chunks else 1)
    assert [event["sent_us"] for event in events(tmp_path)] == [row["landed_us"]]
    assert run.verdict == "clean"


def test_a_chunk_that_is_computed_early_waits_until_the_one_before_has_landed(tmp_path, landings):
    run = replay_small(tmp_path, HARDENED, LONG, transfer_us_per_page=100, **FOUR_CHUNKS)
    row = run.requests["r"]
    assert row["landed_us"] == row["transfer_start_us"] + 4 * (1_500 + 250 * 100)
    assert [len(pages) for pages in landings] == [250] * 4
    assert in_order(landings) == list(range(1, 1_001)), "in the order of the prompt"


@pytest.mark.parametrize("decode_allocates", ["before-prefill", "after-prefill"])
@pytest.mark.parametrize("prompt", [1, 63, 64, 65, 640, 1_000])
@pytest.mark.parametrize("chunk", [1_000, 100, 64, 30])
def test_every_page_lands_once_whatever_the_chunks(
    tmp_path, landings, chunk, prompt, decode_allocates
):
    run = replay_small(
        tmp_path,
        HARDENED,
        [TraceRequest("r", 0, prompt, 3)],
        page_size=64,
        chunked_prefill_tokens=chunk,
        decode_allocates=decode_allocates,
    )
    assert in_order(landings) == list(range(1, -(-prompt // 64) + 1))
    assert run.verdict == "clean"
    if decode_allocates == "after-prefill":
        assert len(landings) == 1, "there is nowhere to send to before the prompt is done"


@pytest.mark.parametrize(
    ("tp", "mla", "completions", "acknowledgements"),
    [((4, 4), True, 4, 4), ((2, 4), True, 4, 2), ((4, 2), True, 2, 2), ((4, 2), False, 4, 4)],
)
def test_a_pair_tells_once_and_only_after_the_last_chunk(
    tmp_path, tp, mla, completions, acknowledgements
):
    sizes = {"prefill_tp": tp[0], "decode_tp": tp[1], "mla": mla}
    run = replay_small(tmp_path, HARDENED, LONG, **sizes, **FOUR_CHUNKS)
    for direction, count in (("decode", completions), ("prefill", acknowledgements)):
        told = events(tmp_path, direction)
        assert len({(row["prefill_tp_rank"], row["decode_tp_rank"]) for row in told}) == count
        assert len(told) == count
        assert {row["sent_us"] for row in told} == {run.requests["r"]["landed_us"]}


SKEWED = {"prefill_tp": 4, "decode_tp": 4, "transfer_skew_us": 10_000}


def test_pairs_that_are_done_at_different_times_tell_so_and_decode_waits_for_the_last(tmp_path):
    run = replay_small(tmp_path, HARDENED, LONG, **SKEWED, **FOUR_CHUNKS)
    row = run.requests["r"]
    first_us = row["prefill_start_us"] + 4 * CHUNK_COMPUTED_US + CHUNK_MOVED_US
    sent = [event["sent_us"] for event in events(tmp_path)]
    assert sent == [first_us + share * 10_000 for share in range(4)]
    assert row["landed_us"] == sent[-1] < row["consumed_us"]
    assert {event["sent_us"] for event in events(tmp_path, "prefill")} == {row["landed_us"]}
    assert run.verdict == "clean"


@pytest.mark.parametrize("skew_us", [0, 10_000])
def test_contents_are_complete_only_when_the_last_pair_is_done(tmp_path, skew_us):
    """Where one rank counts as all, decode reads the others' shares before they are there."""
    fields = SKEWED | {"transfer_skew_us": skew_us} | defect("one-rank-counts-as-all")
    run = replay_small(tmp_path, HARDENED, [TraceRequest("r", 0, 100, 20)], **fields)
    assert run.requests["r"]["decode_state"] == "finished"
    assert run.summary["oracles"]["contents"] == (100 if skew_us else 0)
    assert run.verdict == ("persistent" if skew_us else "clean")


def waits_in_prealloc():
    """The second request gets its row on decode when the first is done, after about a second."""
    return [TraceRequest("first", 0, 10, 50), TraceRequest("r", 1_000, 100, 5)]


@pytest.mark.parametrize(("timeout_us", "state"), [(200_000, "failed"), (30_000_000, "finished")])
def test_a_bootstrap_timeout_bounds_the_wait_for_decode_s_pages(tmp_path, timeout_us, state):
    fields = {"request_slots": 1, "bootstrap_timeout_us": timeout_us}
    run = replay_small(tmp_path, HARDENED, waits_in_prealloc(), **fields)
    row = run.requests["r"]
    assert row["decode_state"] == state
    assert run.verdict == "clean"
    if state == "failed":
        assert (row["preallocated_us"], row["prefill_state"]) == (-1, "dropped")
        # One step of the batch that runs meanwhile, at most, until decode looks.
        assert 0 <= row["ended_us"] - (row["arrival_us"] + timeout_us) < 25_000


def test_where_decode_is_not_told_its_own_timeout_ends_what_prefill_has_dropped(tmp_path):
    fields = {"request_slots": 1, "bootstrap_timeout_us": 200_000, "prefill_tells_decode": False}
    run = replay_small(
        tmp_path, HARDENED, waits_in_prealloc(), waiting_timeout_us=300_000, **fields
    )
    row = run.requests["r"]
    assert row["decode_state"] == "failed"
    assert row["preallocated_us"] >= run.requests["first"]["ended_us"] > 200_000
    assert 0 <= row["ended_us"] - (row["preallocated_us"] + 300_000) <= 2 * POLL_US


@pytest.mark.parametrize("asks", [True, False])
def test_a_waiting_timeout_may_ask_the_sender(tmp_path, asks):
    """The prefill pool has room for `r` only after half a second."""
    two = [TraceRequest("first", 0, 100, 5), TraceRequest("r", 20_000, 100, 5)]
    late = fault("delay", "prefill", request_ids=frozenset({"first"}), delay_us=500_000)
    run = replay_small(
        tmp_path,
        HARDENED,
        two,
        late,
        prefill_total_tokens=150,
        waiting_timeout_us=100_000,
        timeout_asks_sender=asks,
    )
    row = run.requests["r"]
    assert run.summary["requests"]["stuck"] == 0
    assert run.summary["final_gap"]["tokens"] == 0
    assert row["decode_state"] == ("finished" if asks else "failed")
    if not asks:
        assert 0 <= row["ended_us"] - (row["preallocated_us"] + 100_000) < 25_000


#: Aborted while its bytes, which take half a second, move.
LEAVES = [TraceRequest("r", 0, 100, 20, cancel_us=50_000)]
SLOW = {"transfer_us": 500_000}


@pytest.mark.parametrize(
    ("fields", "rules", "ended"),
    [
        ({}, (), "landed"),
        ({}, (fault("drop"),), "landed"),
        ({"deferred_timeout_us": 100_000}, (), "capped"),
        ({"deferred_timeout_us": 100_000, "decode_tells_prefill": False}, (), "capped"),
        ({"decode_tells_prefill": False}, (), "landed"),
        ({"deferred_until": "completed"}, (), "landed"),
        ({"deferred_until": "completed"}, (fault("drop"),), "never"),
        ({"deferred_until": "completed", "deferred_timeout_us": 900_000}, (fault("drop"),), "late"),
    ],
)
def test_a_deferred_release_waits_for_the_sender_s_word_or_its_cap(tmp_path, fields, rules, ended):
    run = replay_small(tmp_path, HARDENED, LEAVES, *rules, **SLOW, **fields)
    row, latest_us = run.requests["r"], 3 * POLL_US
    if ended == "never":
        assert (row["decode_state"], row["ended_us"]) == ("deferred", -1)
        assert run.verdict == "persistent"
        return
    assert row["decode_state"] == "aborted"
    expected_us = {
        "landed": row["landed_us"],
        "capped": 50_000 + 100_000,
        "late": 50_000 + 900_000,
    }
    assert 0 <= row["ended_us"] - expected_us[ended] <= latest_us
    assert run.summary["final_gap"]["tokens"] == 0
    # Whoever does not wait for the writer is written over.
    assert (run.summary["oracles"]["ledger"] > 0) == (ended == "capped")


@pytest.mark.parametrize("rooms", [1, 2])
@pytest.mark.parametrize("decode_allocates", ["before-prefill", "after-prefill"])
def test_rooms_that_are_used_again_at_once_are_harmless_on_hardened(
    tmp_path, rooms, decode_allocates
):
    requests = [
        TraceRequest(f"r{n}", n * 3_000, 40 + n, 10, cancel_us=n * 4_000 if n % 3 else None)
        for n in range(60)
    ]
    rules = (
        FaultRule("late", "delay", probability=0.3, delay_us=200_000),
        FaultRule("twice", "duplicate", probability=0.5, copies=2, copy_delay_us=70_000),
        FaultRule("again", "duplicate", direction="prefill", copies=2, copy_delay_us=90_000),
    )
    fields = {"bootstrap_rooms": rooms, "decode_allocates": decode_allocates}
    run = replay_small(tmp_path, HARDENED, requests, *rules, **fields)
    assert objections(run.summary) == []
    assert run.summary["requests"]["stuck"] == 0
    confused = events(tmp_path) + events(tmp_path, "prefill")
    assert not [row for row in confused if "another request" in (row["detail"] or "")]
    assert {row["bootstrap_room"] for row in confused} == set(range(rooms))


def test_dp_ranks_in_lockstep_hang_together_where_tp_ranks_poll_alone(tmp_path):
    """One completion of `hangs` comes a second late; `runs` decodes on the other DP rank."""
    two = [TraceRequest("runs", 0, 50, 200), TraceRequest("hangs", 500_000, 100, 5)]
    late = fault("delay", delay_us=1_000_000, decode_tp_ranks=frozenset({1}),
                 request_ids=frozenset({"hangs"}))  # fmt: skip
    sizes = {"prefill_tp": 2, "decode_tp": 4, "decode_dp": 2}
    runs = {}
    for name, changes in (("together", {}), ("alone", defect("ranks-poll-alone"))):
        (folder := tmp_path / name).mkdir()
        runs[name] = replay_small(folder, HARDENED, two, late, **sizes, **changes)
    assert objections(runs["together"].summary) == []
    assert {row["decode_state"] for row in runs["together"].requests.values()} == {"finished"}
    pools = {row["decode_pool"] for row in runs["alone"].requests.values()}
    assert pools == {"decode0/dp0", "decode0/dp1"}
    assert {key: row["decode_state"] for key, row in runs["alone"].requests.items()} == {
        "runs": "running",
        "hangs": "transfer",
    }
    assert runs["alone"].verdict == "persistent"
    assert runs["alone"].summary["oracles"]["liveness"] == 2
