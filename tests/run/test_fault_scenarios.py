"""One small replay a fault and trigger: what really happened to events and requests."""

import pytest
from fault_helpers import WIDE_SMALL as WIDE
from fault_helpers import record, requests_every

from faults.chance import Burst, Uniform
from faults.rule import FaultRule
from traces.schema import TraceRequest

SGLANG, VLLM, HARDENED = "sglang-0.5.23", "vllm-0.33", "hardened"
POST4 = "sglang-0.4.6.post4"
EVERY_SECOND = requests_every(1_000_000, 4)
#: Bytes move for a tenth of a second, so that decode polls while they do.
SLOW_TRANSFER = {"transfer_us": 100_000}


def one(request_id):
    return frozenset({request_id})


def test_reorder_lets_later_events_overtake():
    rule = FaultRule("mixed", "reorder", window_us=3_000_000)
    recorded = record(HARDENED, requests_every(100_000, 12), rule, seed=2, **WIDE)
    rows = recorded.touched("mixed")
    assert len(rows) == 12
    assert all(0 <= row["delivered_us"] - row["due_us"] < 3_000_000 for row in rows)
    by_due = [row["event"] for row in sorted(rows, key=lambda row: row["due_us"])]
    by_arrival = [row["event"] for row in sorted(rows, key=lambda row: row["delivered_us"])]
    assert by_due != by_arrival
    overtaken = {
        row["event"]
        for row in rows
        if any(
            other["due_us"] > row["due_us"] and other["delivered_us"] < row["delivered_us"]
            for other in rows
        )
    }
    # A receiver that looked in vain has seen something too, though nobody overtook.
    assert overtaken <= {row["event"] for row in rows if row["observed"]}


@pytest.mark.parametrize("direction", ["decode", "prefill"])
def test_a_misrouted_event_reaches_the_rank_beside(direction):
    """It crashes vLLM's scheduler there, which knows no such request."""
    rule = FaultRule("astray", "misroute", to="rank", direction=direction, request_ids=one("q1"))
    sizes = {f"{direction}_tp": 2, f"{direction}_dp": 2}
    recorded = record(VLLM, EVERY_SECOND, rule, mla=True, **sizes)
    (row,) = recorded.touched("astray")
    assert row["result"] == "crashed the scheduler"
    assert recorded.run["engine"]["died_pool"] == f"{direction}0/dp0", "q1 is served by dp1"
    assert row["pool"] == f"{direction}0/dp1"
    assert not recorded.of("q1", direction)[1:]


def test_a_misrouted_event_reaches_the_next_room():
    """There it completes a transfer whose bytes are still on their way."""
    requests = [TraceRequest("small", 0, 20, 5), TraceRequest("big", 0, 2_000, 5)]
    rule = FaultRule("astray", "misroute", to="room", request_ids=one("small"))
    recorded = record(VLLM, requests, rule, transfer_us_per_page=1_000)
    (row,) = recorded.touched("astray")
    assert (row["request_id"], row["result"]) == ("small", "accepted")
    big, small = recorded.requests["big"], recorded.requests["small"]
    assert small["consumed_us"] == -1, "nobody told it"
    assert 0 < big["consumed_us"] < big["landed_us"], "it was told, too early"
    assert recorded.summary["oracles"]["contents"] > 0


def test_an_acknowledgement_as_a_completion_frees_the_prompt_of_vllm_only():
    rule = FaultRule("astray", "misroute", to="kind", direction="prefill", request_ids=one("q1"))
    (row,) = record(VLLM, EVERY_SECOND, rule).touched("astray")
    assert row["result"] == "accepted: released without its acknowledgement"
    recorded = record(SGLANG, EVERY_SECOND, rule)
    assert recorded.touched("astray")[0]["result"] == "ignored: nothing is received here"
    assert recorded.requests["q1"]["prefill_state"] == "inflight"


def test_early_completions_make_vllm_read_wrong_bytes_and_are_kept_by_hardened():
    rule = FaultRule("hasty", "early", request_ids=one("q2"))
    vllm = record(VLLM, EVERY_SECOND, rule, **SLOW_TRANSFER)
    (row,) = vllm.touched("hasty")
    request = vllm.requests["q2"]
    assert row["delivered_us"] == request["transfer_start_us"]
    assert request["consumed_us"] < request["landed_us"]
    assert vllm.verdict == "persistent"
    assert vllm.summary["kinds"].get("stale-write")
    hardened = record(HARDENED, EVERY_SECOND, rule, **SLOW_TRANSFER)
    (row,) = hardened.touched("hasty")
    request = hardened.requests["q2"]
    assert row["delivered_us"] < request["landed_us"] <= request["consumed_us"]
    assert row["result"] == "kept: its bytes have not landed"
    assert row["observed"]
    assert (hardened.verdict, hardened.faults["observed"]) == ("clean", 1)


@pytest.mark.parametrize("early_us", [1, 200, 60_000])
def test_an_early_event_comes_at_most_so_much_before_its_bytes(early_us):
    rule = FaultRule("hasty", "early", early_us=early_us, request_ids=one("q2"))
    recorded = record(VLLM, EVERY_SECOND, rule, **SLOW_TRANSFER)
    (row,) = recorded.touched("hasty")
    assert row["delivered_us"] == recorded.requests["q2"]["landed_us"] - early_us


def test_an_early_acknowledgement_frees_a_prompt_that_is_still_read():
    rule = FaultRule("hasty", "early", direction="prefill")
    recorded = record(SGLANG, EVERY_SECOND, rule, **SLOW_TRANSFER)
    assert recorded.summary["kinds"] == {"premature-free": 28}
    assert record(HARDENED, EVERY_SECOND, rule, **SLOW_TRANSFER).verdict == "clean"


@pytest.mark.parametrize("keep", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("direction", ["decode", "prefill"])
def test_partial_keeps_exactly_so_many_events_of_each_transfer(keep, direction):
    rule = FaultRule("some", "partial", keep=keep, direction=direction)
    recorded = record(HARDENED, EVERY_SECOND, rule, prefill_tp=4, decode_tp=4)
    for name in recorded.requests:
        rows = recorded.of(name, direction)
        assert len(rows) == 4
        assert sum(row["delivered_us"] is not None for row in rows) == min(keep, 4)
    assert recorded.rule("some")["planned"] == 4 * max(0, 4 - keep)
    if keep >= 4:
        assert recorded.faults["rules_never_fired"] == ["some"]


def test_fail_says_so_on_time_and_its_bytes_never_land():
    rule = FaultRule("failed", "fail", request_ids=one("q1"))
    recorded = record(SGLANG, EVERY_SECOND, rule)
    (row,) = recorded.touched("failed")
    assert (row["failed"], row["delivered_us"]) == (True, row["due_us"])
    assert recorded.requests["q1"]["decode_state"] == "failed"
    dead = record(POST4, EVERY_SECOND, rule)
    assert dead.run["engine"]["died_message"] == "Transfer failed"
    assert dead.requests["q1"]["decode_state"] == "transfer"


@pytest.mark.parametrize(
    ("until", "fields"), [("pages-reused", {}), ("room-reused", {"bootstrap_rooms": 1})]
)
def test_stale_arrives_on_time_and_again_after_reuse(until, fields):
    rule = FaultRule("again", "stale", until=until, request_ids=one("q0"))
    recorded = record(HARDENED, EVERY_SECOND, rule, **fields)
    first, second = recorded.of("q0")
    assert (first["copy"], first["delivered_us"], first["rule"]) == (0, first["due_us"], None)
    assert second["rule"] == "again"
    assert second["delivered_us"] >= recorded.requests["q1"]["preallocated_us"]
    assert second["delivered_us"] >= recorded.requests["q0"]["ended_us"]
    later = FaultRule("again", "stale", until=until, request_ids=one("q0"), delay_us=5_000)
    delayed = record(HARDENED, EVERY_SECOND, later, **fields).of("q0")[1]
    assert delayed["delivered_us"] == second["delivered_us"] + 5_000


def test_stale_waits_for_ever_where_nothing_is_reused():
    rule = FaultRule("again", "stale", request_ids=one("q3"))
    recorded = record(HARDENED, EVERY_SECOND, rule)
    (row,) = recorded.touched("again")
    assert (row["delivered_us"], row["result"]) == (None, "not before the end")
    assert recorded.faults["rules_without_effect"] == ["again"]


@pytest.mark.parametrize("until", ["given-up", "released"])
def test_a_completion_held_until_its_client_has_gone(until):
    requests = [
        TraceRequest("q0", 0, 100, 20, cancel_us=500_000),
        *requests_every(1_000_000, 3)[1:],
    ]
    rule = FaultRule("held", "delay", until=until, delay_us=7_000, request_ids=one("q0"))
    recorded = record(SGLANG, requests, rule)
    (row,) = recorded.touched("held")
    gone_us = recorded.requests["q0"]["ended_us"]
    assert row["delivered_us"] >= 507_000
    assert until != "released" or row["delivered_us"] == gone_us + 7_000
    assert row["result"].startswith(("ignored", "accepted"))
    assert row["observed"]


def test_a_completion_held_until_the_inject_phase_is_over():
    rule = FaultRule("held", "delay", until="heal", request_ids=one("q1"))
    recorded = record(SGLANG, EVERY_SECOND, rule)
    (row,) = recorded.touched("held")
    heal = next(phase for phase in recorded.run["phases"] if phase["phase"] == "heal")
    assert row["delivered_us"] == heal["start_us"]
    assert recorded.requests["q1"]["decode_state"] == "finished"
    assert recorded.verdict == "transient"


def test_two_conditions_both_have_to_hold():
    rules = (
        FaultRule("one", "delay", until="heal", delay_us=10, request_ids=one("q1")),
        FaultRule("other", "delay", until="released", delay_us=10, request_ids=one("q1")),
    )
    recorded = record(HARDENED, EVERY_SECOND, *rules)
    (row,) = recorded.touched("one")
    heal = next(phase for phase in recorded.run["phases"] if phase["phase"] == "heal")
    ended_us = recorded.requests["q1"]["ended_us"]
    assert row["delivered_us"] == max(heal["start_us"], ended_us) + 20
    assert row["rule"] == "one + other"


def test_an_abort_hits_after_landing_and_before_the_request_is_batched():
    rule = FaultRule("gone", "abort", when="landed", request_ids=one("q2"))
    recorded = record(HARDENED, EVERY_SECOND, rule)
    (row,) = recorded.touched("gone")
    request = recorded.requests["q2"]
    assert row["result"] == "aborted while landed"
    assert request["landed_us"] <= row["delivered_us"] <= request["ended_us"]
    assert (request["consumed_us"], request["running_us"]) == (-1, -1)
    assert request["decode_state"] == "aborted"


@pytest.mark.parametrize(
    "state",
    ["prealloc", "transfer", "moving", "landed", "running", "bootstrap", "prefilling", "in-flight"],
)
def test_an_abort_finds_its_request_in_the_state_it_is_aimed_at(state):
    rule = FaultRule("gone", "abort", when=state)
    recorded = record(HARDENED, EVERY_SECOND, rule, chunked_prefill_tokens=64)
    assert recorded.rule("gone")["observed"] > 0
    assert {row["result"] for row in recorded.touched("gone")} == {f"aborted while {state}"}
    assert "aborted" in {row["decode_state"] for row in recorded.requests.values()}


def test_a_strike_that_comes_too_late_misses_and_is_told():
    rule = FaultRule("gone", "abort", when="landed", delay_us=900_000)
    recorded = record(HARDENED, EVERY_SECOND, rule)
    assert recorded.faults["rules_without_effect"] == ["gone"]
    assert {row["result"] for row in recorded.touched("gone")} == {
        "missed: it was finished by then"
    }
    assert recorded.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("profile", "state", "hits"),
    [
        (HARDENED, "bootstrap", "timed out"),
        (HARDENED, "transfer", "asked its sender, and waits on"),
        (HARDENED, "landed", "timed out"),
        (HARDENED, "in-flight", "timed out"),
        (SGLANG, "bootstrap", "timed out"),
        (SGLANG, "transfer", "timed out"),
        (SGLANG, "landed", None),
        (SGLANG, "in-flight", None),
        (POST4, "bootstrap", None),
        (VLLM, "transfer", None),
    ],
)
def test_a_timeout_ends_only_where_the_engine_has_one(profile, state, hits):
    rule = FaultRule("over", "timeout", when=state, request_ids=one("q1"))
    recorded = record(profile, EVERY_SECOND, rule)
    rows = recorded.touched("over")
    if hits is None:
        assert recorded.verdict == "inconclusive"
        assert {row["result"] for row in rows} <= {
            f"missed: no timeout of this engine runs while it is {state}"
        }
        assert recorded.requests["q1"]["decode_state"] == "finished"
    else:
        assert [row["result"] for row in rows] == [hits]
        ended_well = hits != "timed out" or state == "in-flight"
        assert (recorded.requests["q1"]["decode_state"] == "finished") == ended_well


# Triggers.


def hit(recorded, name="lost"):
    return [row["request_id"] for row in recorded.touched(name)]


def test_a_session_a_pool_a_rank_and_a_time_can_be_aimed_at():
    requests = [
        TraceRequest(f"q{number}", number * 1_000_000, 100, 20, session_id=f"s{number % 2}")
        for number in range(6)
    ]

    def lost(**conditions):
        rule = FaultRule("lost", "drop", **conditions)
        return hit(record(HARDENED, requests, rule, decode_tp=3, decode_dp=3))

    assert lost(session_ids=one("s1")) == ["q1", "q3", "q5"]
    assert lost(pools=one("decode0/dp2")) == ["q2", "q5"]
    assert lost(dp_ranks=frozenset({0, 1})) == ["q0", "q1", "q3", "q4"]
    assert lost(after_us=1_500_000, before_us=4_500_000) == ["q2", "q3", "q4"]
    assert lost(occurrences=frozenset({2, 3})) == ["q1", "q2"]
    assert lost(occurrences=frozenset({2}), occurrences_per="rank") == ["q3", "q4", "q5"]
    assert lost(occurrences=frozenset({3}), occurrences_per="session") == ["q4", "q5"]


def test_a_state_can_be_aimed_at():
    requests = [TraceRequest("q0", 0, 100, 20, cancel_us=9_000), *EVERY_SECOND[1:]]
    rule = FaultRule("lost", "drop", states=one("deferred"))
    assert hit(record(HARDENED, requests, rule)) == ["q0"]
    rule = FaultRule("lost", "drop", states=one("landed"))
    assert hit(record(HARDENED, requests, rule)) == ["q1", "q2", "q3"]


def test_one_rank_loses_everything_for_two_seconds():
    burst = Burst(2_000_000, 2_000_000_000, hits="rank")
    rule = FaultRule("lost", "drop", burst=burst)
    requests = requests_every(100_000, 100, 32, 4)
    for seed in range(400):
        windows = [
            [
                at_us
                for at_us in range(0, 10_000_000, 50_000)
                if burst.is_on(seed, "lost", f"decode0/dp{rank}", at_us)
            ]
            for rank in range(2)
        ]
        if bool(windows[0]) != bool(windows[1]) and len(windows[0] or windows[1]) == 40:
            break
    struck = 0 if windows[0] else 1
    on = windows[struck]
    recorded = record(HARDENED, requests, rule, seed=seed, decode_tp=2, decode_dp=2, **WIDE)
    rows = recorded.touched("lost")
    assert {row["pool"] for row in rows} == {f"decode0/dp{struck}"}
    sent = {
        row["event"]
        for row in recorded.events
        if row["pool"] == f"decode0/dp{struck}" and on[0] <= row["sent_us"] <= on[-1]
    }
    assert len(sent) >= 9
    assert sent <= {row["event"] for row in rows}


# Combinations.


def test_combinations_act_in_the_documented_order():
    q1 = one("q1")
    late = FaultRule("late", "delay", delay_us=300_000, request_ids=q1)
    lost = FaultRule("lost", "drop", request_ids=q1)
    failed = FaultRule("failed", "fail", request_ids=q1)
    twice = FaultRule("twice", "duplicate", copy_delay_us=50_000, request_ids=q1)
    astray = FaultRule("astray", "misroute", request_ids=q1)
    hasty = FaultRule("hasty", "early", request_ids=q1)

    def rows(*rules):
        found = record(HARDENED, EVERY_SECOND, *rules).of("q1")
        due_us = found[0]["due_us"]
        return [
            (row["delivered_us"] and row["delivered_us"] - due_us, row["failed"], row["rule"])
            for row in found
        ]

    assert rows(twice, late, failed) == [
        (300_000, True, "late + failed"),
        (350_000, True, "twice"),
    ]
    assert rows(late, lost, twice) == [(None, False, "lost")]
    assert [row[0] for row in rows(astray, late, twice)] == [300_000, 350_000]
    early = record(HARDENED, EVERY_SECOND, hasty, lost, late)
    assert [row["rule"] for row in early.of("q1")] == ["hasty"], "what comes after comes too late"
    assert early.faults["rules_without_effect"] == ["lost", "late"]
    assert (early.rule("lost")["planned"], early.rule("lost")["landed"]) == (1, 0)
    again = record(HARDENED, EVERY_SECOND, hasty, twice).of("q1")
    assert [(row["copy"], row["rule"]) for row in again] == [(0, "hasty"), (1, "twice")]


def test_distributions_are_drawn_for_each_event():
    rule = FaultRule("late", "delay", delay_us=Uniform(10_000, 90_000))
    rows = record(HARDENED, requests_every(500_000, 10), rule).touched("late")
    delays = {row["delivered_us"] - row["due_us"] for row in rows}
    assert len(delays) == 10
    assert min(delays) >= 10_000
    assert max(delays) <= 90_000
