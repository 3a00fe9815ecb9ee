"""Every fact measured on real SGLang wheels, asked of every profile it speaks about.

A pool of 4,096 tokens in pages of one, and one request of 100 tokens, unless a scenario says
otherwise. Prefill starts to send at 8.5 ms and the completion is polled at 13 ms.
"""

import random
from typing import NamedTuple

import pytest
from engine_helpers import replay_small

from faults.rule import FaultRule
from replay.profiles.defects import all_defects
from replay.run.session import SessionOptions
from traces.schema import TraceRequest

V0_4 = POST3, POST4, POST5 = "sglang-0.4.6.post3", "sglang-0.4.6.post4", "sglang-0.4.6.post5"
V0_5 = "sglang-0.5.23"
EVERY = (*V0_4, V0_5)
DECODE = "decode0/dp0"


def fault(kind, direction="decode", name="rule", **conditions):
    return FaultRule(name, kind, direction=direction, **conditions)


def scenario(requests, *rules, **fields):
    """What happens to request `r`, where need be beside a `first`."""
    return requests, rules, fields


def one(cancel_us=None):
    return [TraceRequest("r", 0, 100, 20, cancel_us=cancel_us)]


def after_first(arrival_us):
    return [TraceRequest("first", 0, 100, 20), TraceRequest("r", arrival_us, 100, 20)]


#: A full batch keeps `r` in the waiting queue, its KV in place, when its client leaves.
LEAVES = [TraceRequest("first", 0, 10, 60), *one(cancel_us=100_000)]
NEVER_FITS = [TraceRequest("r", 0, 9_000, 1)]
DROP, FAIL = fault("drop"), fault("fail")

SCENARIOS = {
    "completion-delayed": scenario(one(), fault("delay", delay_us=500_000)),
    "completion-dropped": scenario(one(), DROP),
    "dropped-and-transfer-ungated": scenario(one(), DROP, decode_check_gate=("prealloc",)),
    "dropped-and-client-leaves-after-400-s": scenario(one(cancel_us=400_000_000), DROP),
    "success-twice": scenario(one(), fault("duplicate", copy_delay_us=50_000)),
    "success-again-when-done": scenario(one(), fault("duplicate", copy_delay_us=5_000_000)),
    "room-reused": scenario(after_first(1_000_000), bootstrap_rooms=1),
    "success-before-prealloc": scenario(after_first(1_000), bootstrap_rooms=1, request_slots=1),
    "poll-failed": scenario(one(), FAIL),
    "abort-while-transferring": scenario(one(cancel_us=9_000)),
    "abort-while-transferring-then-dropped": scenario(one(cancel_us=9_000), DROP),
    "abort-while-waiting": scenario(LEAVES, max_running_requests=1),
    "ended-before-batched": scenario(NEVER_FITS),
    "ended-before-batched-pages-of-64": scenario(NEVER_FITS, page_size=64),
    # The nearest to a queue entry that is lost: a batch's result, or a place in the transfer queue.
    "result-lost": scenario(one(), last_result_before_idle="lost"),
    "entry-lost": scenario(one(), FAIL, failed_transfer="leak"),
}


class Fact(NamedTuple):
    """What a version makes of a scenario: `missing` tokens at most, `left` for good."""

    verdict: str
    state: str
    missing: int = 0
    left: int = 0
    #: What is told: "check" by the engine's own check, or what the scheduler dies of.
    told: str | None = None


FREED, IGNORED = Fact("clean", "aborted"), Fact("clean", "finished")
HELD, WEDGED = Fact("persistent", "transfer", 100, 100), Fact("persistent", "prealloc")


#: What the pages that are missing are called, by what becomes of their request.
KINDS = {"transfer": "stuck", "lost": "orphaned", "finished": "held", "aborted": "held"}


def leak(tokens):
    return Fact("persistent", "lost", tokens, tokens, "check")


FACTS = [
    ("completion-delayed", EVERY, Fact("transient", "finished", 100)),
    # The 300 s of 0.5.23 do not help: data has moved.
    ("completion-dropped", EVERY, HELD),
    ("dropped-and-transfer-ungated", EVERY, HELD._replace(told="check")),
    ("dropped-and-client-leaves-after-400-s", V0_4, HELD),
    ("dropped-and-client-leaves-after-400-s", [V0_5], Fact("transient", "aborted", 100)),
    ("success-twice", EVERY, IGNORED),
    ("success-again-when-done", EVERY, IGNORED),
    ("room-reused", V0_4, WEDGED),
    ("success-before-prealloc", V0_4, WEDGED),
    ("poll-failed", [POST3, POST4], HELD._replace(told="Transfer failed")),
    ("poll-failed", [POST5, V0_5], Fact("clean", "failed")),
    ("abort-while-transferring", V0_4, IGNORED),
    ("abort-while-transferring", [V0_5], FREED),
    ("abort-while-transferring-then-dropped", V0_4, HELD),
    ("abort-while-transferring-then-dropped", [V0_5], FREED),
    ("abort-while-waiting", V0_4, leak(100)),
    ("abort-while-waiting", [V0_5], FREED),
    ("ended-before-batched", [POST3, POST4], leak(1)),
    ("ended-before-batched", [POST5], FREED),
    ("ended-before-batched-pages-of-64", [POST3, POST4], leak(64)),
    ("ended-before-batched-pages-of-64", [POST5], FREED),
    ("result-lost", EVERY, leak(120)),
    ("entry-lost", EVERY, leak(100)),
]
ROWS = [(name, profile, fact) for name, profiles, fact in FACTS for profile in profiles]


def rows(wanted):
    return pytest.mark.parametrize(
        ("name", "profile", "fact"),
        [pytest.param(*row, id=f"{row[0]}-{row[1]}") for row in ROWS if wanted(row[2])],
    )


def words(profile, available, total=4_096):
    """What this version prints when so many tokens are available."""
    if profile == V0_5:
        return (
            f"pool memory leak detected! [full] total={total}, available={available}, "
            "evictable=0, protected=0, session_held=0, uncached=0"
        )
    return (
        f"token_to_kv_pool_allocator memory leak detected! available_size={available}, "
        f"protected_size=0, self.max_total_num_tokens={total}\n"
        f"self.token_to_kv_pool_allocator.available_size()={available}\n"
        "self.tree_cache.evictable_size()=0\n"
    )


def happens(folder, name, profile, **fields):
    requests, rules, scenario_fields = SCENARIOS[name]
    return replay_small(folder, profile, requests, *rules, **(scenario_fields | fields))


def assert_told(run, profile, told, available):
    """A check that fires kills the scheduler, but post3 warns and lives on."""
    assert run.summary["engine_check_fired"] == (told == "check")
    if told == "check":
        told = None if profile == POST3 else words(profile, available)
    assert run.summary["engine_died_message"] == told


@rows(lambda fact: True)
def test_what_happens_is_what_was_measured(tmp_path, name, profile, fact):
    run = happens(tmp_path, name, profile)
    assert run.verdict == fact.verdict
    assert run.requests["r"]["decode_state"] == fact.state
    assert run.summary["final_gap"]["pools"] == ({DECODE: fact.left} if fact.left else {})
    available = 4_096 - fact.missing
    assert_told(run, profile, fact.told, available)
    if fact.missing:
        mismatch = run.summary["mismatch"]
        assert (mismatch["pool"], mismatch["total"]) == (DECODE, 4_096)
        assert (mismatch["available"], mismatch["gap"]) == (available, fact.missing)
        assert mismatch["quiet"]
        assert run.summary["engine_message"] == words(profile, available)
        assert run.summary["kinds"][KINDS[fact.state]] == mismatch["pages"]
        assert mismatch["pages"] * SCENARIOS[name][2].get("page_size", 1) == fact.missing
    else:
        assert run.summary["mismatch"] is run.summary["engine_message"] is None
    if fact.told is None:
        gaps = [row for row in run.audits if row["pool"] == DECODE and row["gap"]]
        assert {row["engine_check"] for row in gaps} <= {"none"}, "its gate is shut"
    if fact.verdict == "clean":
        assert set(run.summary["oracles"].values()) == {0}
    if fact == WEDGED:
        assert run.requests["first"]["decode_state"] == "finished"
        assert run.summary["why"] == "1 request never ended, although no page is missing"


@pytest.mark.parametrize("repeats", [0, 3])
def test_0_5_would_tell_an_abort_that_leaks_in_its_own_words(tmp_path, repeats):
    defect = all_defects()["abort-in-waiting-leaks"].changes
    options = SessionOptions(repeats=repeats)
    run = happens(tmp_path, "abort-while-waiting", V0_5, options=options, **defect)
    assert_told(run, V0_5, "check", 3_996)
    assert run.verdict == "persistent"


@rows(lambda fact: fact.left)
def test_what_leaks_is_still_missing_after_clean_cycles(tmp_path, name, profile, fact):
    run = happens(tmp_path, name, profile, options=SessionOptions(repeats=3))
    grows = fact.told == "check" and not SCENARIOS[name][1]
    gaps = {}
    for row in run.audits:
        if row["pool"] == DECODE:
            gaps[int(row["phase"][-1]) if "repeat" in row["phase"] else 0] = row["gap"]
    assert gaps == {cycle: fact.left * (1 + cycle * grows) for cycle in range(4)}
    assert run.verdict == "persistent"
    assert run.summary["growth"] == ("growing" if grows else "one-off")


@pytest.mark.parametrize("profile", EVERY)
def test_only_0_5_bounds_a_transfer_and_only_while_no_data_has_moved(tmp_path, profile):
    """The prefill pool has no room for `r` until an acknowledgement comes, after 400 s."""
    late = fault("delay", "prefill", request_ids=frozenset({"first"}), delay_us=400_000_000)
    two = [TraceRequest("first", 0, 100, 5), TraceRequest("r", 20_000, 100, 5)]
    run = replay_small(tmp_path, profile, two, late, prefill_total_tokens=150)
    assert run.verdict == "transient"
    request = run.requests["r"]
    assert request["decode_state"] == ("failed" if profile == V0_5 else "finished")
    waited_us = request["ended_us"] - request["preallocated_us"]
    assert waited_us // 10_000 == 30_000 if profile == V0_5 else waited_us > 399_000_000


@pytest.mark.parametrize("profile", EVERY)
@pytest.mark.parametrize("fields", [{"transfer_us": 400_000_000}, {"prefill_step_us": 250_000_000}])
def test_no_timeout_bounds_a_transfer_whose_data_has_begun_to_move(tmp_path, profile, fields):
    """One slow transfer; and a prompt of two chunks, of which the second comes after 500 s."""
    run = replay_small(tmp_path, profile, one(), chunked_prefill_tokens=50, **fields)
    assert run.verdict == "clean"
    assert run.requests["r"]["decode_state"] == "finished"
    assert run.requests["r"]["consumed_us"] - run.requests["r"]["preallocated_us"] > 399_000_000


@pytest.mark.parametrize("profile", [POST4, POST5])
def test_a_failure_told_after_a_success_is_lost_in_0_4_6(tmp_path, profile):
    """Two senders tell one decode rank; the one that failed speaks last.

    In post3 the thread that takes completions in still assigns the status as it comes.
    """
    second = {"prefill_tp_ranks": frozenset({1})}
    rules = (fault("fail", **second), fault("delay", name="late", delay_us=50_000, **second))
    pair = {"prefill_tp": 2, "decode_tp": 1, "mla": False, "mixed_tp_needs_mla": False}
    run = replay_small(tmp_path, profile, one(), *rules, **pair)
    assert run.summary["engine_died_us"] is None
    assert run.requests["r"]["decode_state"] == "finished"
    assert run.summary["why"] == "decode read 100 pages that held other bytes than its own"


def test_a_success_before_the_metadata_waits_for_it_in_0_5(tmp_path):
    """Both sides are told on submission; the acknowledgement is held back, or prefill frees early."""
    late = fault("delay", "prefill", delay_us=300_000)
    fields = {"completion_sent": "submitted", "transfer_us": 200_000}
    run = replay_small(tmp_path, V0_5, one(), late, **fields)
    assert run.requests["r"]["decode_state"] == "finished"
    assert run.requests["r"]["landed_us"] < run.requests["r"]["consumed_us"] < 220_000
    assert run.verdict == "transient"
    assert run.summary["mismatch"]["pool"] == "prefill0/dp0"
    assert run.summary["oracles"] == {"count": 1, "ledger": 0, "contents": 0, "liveness": 0}


@pytest.mark.parametrize(("gate", "state", "wrong"), [(True, "failed", 0), (False, "finished", 1)])
def test_metadata_of_another_room_aborts_and_frees_in_0_5(tmp_path, gate, state, wrong):
    """A client leaves, its slot goes to `r` at once, and its bytes land there after those of `r`."""
    two = [TraceRequest("old", 0, 2_000, 5, cancel_us=50_000), TraceRequest("r", 60_000, 100, 5)]
    late = fault("delay", request_ids=frozenset({"r"}), delay_us=500_000)
    slots = {"metadata_slots": 1, "metadata_slot_freed": "at-once", "metadata_gate": gate}
    run = replay_small(tmp_path, V0_5, two, late, transfer_us=200_000, **slots)
    assert run.requests["r"]["decode_state"] == state
    assert run.summary["oracles"]["contents"] == wrong
    assert run.summary["final_gap"]["pools"] == {}
    assert_told(run, V0_5, None, 4_096)


@pytest.mark.parametrize("profile", EVERY)
@pytest.mark.parametrize("asks_waiting", [True, False])
def test_until_0_4_8_the_check_does_not_ask_the_waiting_queue(tmp_path, profile, asks_waiting):
    """The only running request is retracted while another, of 30 tokens, waits with its KV."""
    two = [TraceRequest("first", 0, 10, 60), TraceRequest("r", 0, 30, 1)]
    fields = {"total_tokens": 70, "prefill_total_tokens": 70, "reserved_decode_tokens": 0}
    # Or else the retracted request is wedged on its own room, and shuts the prealloc gate.
    fields |= {"max_running_requests": 1, "used_rooms": "forgotten"}
    if profile != V0_5 and asks_waiting:
        fields["decode_check_gate"] = ("transfer", "prealloc", "waiting")
    run = replay_small(tmp_path, profile, two, **fields)
    fires = profile != V0_5 and not asks_waiting
    assert run.summary["engine_check_fired"] == fires
    assert run.summary["kinds"] == ({"check-false-alarm": 30} if fires else {})
    if profile != POST3:
        assert run.summary["engine_died_message"] == (words(profile, 40, 70) if fires else None)
    assert run.requests["r"]["decode_state"] == "finished"


def test_random_aborts_leak_in_some_runs_and_none_without_them(tmp_path):
    clean = {True: 0, False: 0}
    for seed, aborts in ((seed, aborts) for seed in range(12) for aborts in clean):
        numbers, times_us = random.Random(seed), range(0, 360_000, 60_000)
        leaves_us = [at_us + numbers.randrange(8_000_000) if aborts else None for at_us in times_us]
        arrivals = [
            TraceRequest(f"r{at_us}", at_us, 100, 20, cancel_us=cancel_us)
            for at_us, cancel_us in zip(times_us, leaves_us, strict=True)
        ]
        (folder := tmp_path / f"{seed}-{aborts}").mkdir()
        run = replay_small(folder, POST4, arrivals, max_running_requests=1)
        lost = [row for row in run.requests.values() if row["decode_state"] == "lost"]
        assert run.summary["final_gap"]["tokens"] == 100 * len(lost)
        assert run.verdict == ("persistent" if lost else "clean")
        clean[aborts] += not lost
    assert clean[False] == 12
    assert 4 <= clean[True] <= 8
