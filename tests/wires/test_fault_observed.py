"""A rule counts only if an engine could see what it did; otherwise the replay is inconclusive."""

import pytest
from fault_helpers import record, requests_every

from faults.rule import FaultRule
from replay.profiles.catalogue import find_profile
from traces.schema import TraceRequest

HARDENED = "hardened"
REQUESTS = requests_every(1_000_000, 4)
LATE = FaultRule("late", "delay", delay_us=5_000_000)


def counts(recorded, name):
    rule = recorded.rule(name)
    return rule["planned"], rule["landed"], rule["observed"]


@pytest.mark.parametrize("profile", ["sglang-0.4.6.post4", "sglang-0.5.23", "vllm-0.33", HARDENED])
@pytest.mark.parametrize("direction", ["decode", "prefill"])
def test_a_delay_is_seen_from_the_next_poll_on(profile, direction):
    """Within one poll interval nobody looks; two of them no poll can miss."""
    interval_us = find_profile(profile).poll_interval_us
    for delay_us, seen in ((1, False), (2 * interval_us, True)):
        rule = FaultRule("late", "delay", delay_us=delay_us, direction=direction)
        recorded = record(profile, requests_every(1_000_000, 2), rule)
        assert counts(recorded, "late") == (2, 2, 2 if seen else 0), delay_us
        assert recorded.faults["rules_without_effect"] == ([] if seen else ["late"])
        assert (recorded.verdict == "inconclusive") == (not seen)
        assert [row["observed"] for row in recorded.touched("late")] == [seen, seen]


def test_a_silent_rule_makes_the_verdict_inconclusive_and_is_named():
    recorded = record(HARDENED, REQUESTS, FaultRule("short", "delay", delay_us=1))
    assert recorded.verdict == "inconclusive"
    assert "'short' fired, and no engine could see any of it" in recorded.summary["why"]


def test_a_rule_that_never_fires_is_named_as_well():
    nobody = FaultRule("idle", "drop", request_ids=frozenset({"nobody"}))
    recorded = record(HARDENED, REQUESTS, LATE, nobody)
    assert recorded.verdict == "inconclusive"
    assert "'idle' never fired" in recorded.summary["why"]
    assert recorded.faults["rules_never_fired"] == ["idle"]
    assert recorded.faults["rules_without_effect"] == []


def test_one_silent_rule_beside_a_good_one_is_enough():
    short = FaultRule("short", "delay", delay_us=1, direction="prefill")
    assert record(HARDENED, REQUESTS, LATE).verdict == "transient"
    recorded = record(HARDENED, REQUESTS, LATE, short)
    assert recorded.verdict == "inconclusive"
    assert recorded.faults["rules_without_effect"] == ["short"]
    assert counts(recorded, "late") == (4, 4, 4)


def test_a_real_mismatch_is_told_although_another_rule_was_silent():
    lost = FaultRule("lost", "drop", request_ids=frozenset({"q1"}))
    short = FaultRule("short", "delay", delay_us=1, direction="prefill")
    assert record("sglang-0.4.6.post4", REQUESTS, lost, short).verdict == "persistent"


@pytest.mark.parametrize(("copy_delay_us", "seen"), [(1, False), (5_000, True)])
def test_duplicates_within_one_poll_are_not_seen(copy_delay_us, seen):
    rule = FaultRule("twice", "duplicate", copies=3, copy_delay_us=copy_delay_us)
    recorded = record(HARDENED, REQUESTS, rule)
    assert counts(recorded, "twice") == (4, 4, 4 if seen else 0), "each event is one fault"
    assert recorded.verdict == ("clean" if seen else "inconclusive")


def test_a_loss_is_not_seen_once_its_receiver_has_released_the_request():
    requests = [TraceRequest("q0", 0, 100, 20, cancel_us=5_000), *REQUESTS[1:]]
    lost = FaultRule("lost", "drop", request_ids=frozenset({"q0"}))
    fields = {
        "abort_in_transfer": "release",
        "transfer_us": 100_000,
        "client_abort_reaches": "decode",
    }
    recorded = record(HARDENED, requests, lost, decode_tells_prefill=False, **fields)
    assert recorded.requests["q0"]["decode_state"] == "aborted"
    assert counts(recorded, "lost") == (1, 1, 0)
    assert recorded.faults["rules_without_effect"] == ["lost"]


def test_what_waits_for_ever_with_a_delay_was_never_said_to_have_failed():
    q0 = frozenset({"q0"})
    held = FaultRule("held", "delay", until="given-up", request_ids=q0)
    failed = FaultRule("failed", "fail", request_ids=q0)
    recorded = record("sglang-0.4.6.post4", REQUESTS, held, failed)
    assert counts(recorded, "held") == (1, 1, 1)
    assert counts(recorded, "failed") == (1, 0, 0)
    (row,) = recorded.touched("held")
    assert (row["delivered_us"], row["observed"]) == (None, True)


def test_no_rule_is_observed_oftener_than_it_landed():
    rules = (
        FaultRule("twice", "duplicate", copies=4, copy_delay_us=30_000),
        FaultRule("again", "stale"),
        FaultRule("hasty", "early", direction="prefill"),
        FaultRule("back", "duplicate", copies=2, copy_delay_us=30_000, direction="prefill"),
    )
    recorded = record("sglang-0.5.23", REQUESTS, *rules, transfer_us=100_000)
    for name in ("twice", "again", "hasty", "back"):
        planned, landed, observed = counts(recorded, name)
        assert planned >= landed >= observed
    assert counts(recorded, "twice") == (4, 4, 4)
