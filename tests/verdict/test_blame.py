"""The sentence and the evidence that come with a verdict."""

import json
import re

import pytest
from fault_helpers import WIDE_SMALL, record, requests_every

from faults.rule import FaultRule
from replay.profiles.catalogue import find_profile
from replay.recording.reader import Recording
from replay.run.session import SessionOptions
from replay.verdict.growth import growth_of

LOSES = "sglang-0.4.6.post4"


def one_fault(profile, fault, *, which=("q2",), count=6, **rule_fields):
    fields = {key: rule_fields.pop(key) for key in list(rule_fields) if key in PROFILE_FIELDS}
    rule = FaultRule("r", fault, request_ids=frozenset(which), **rule_fields)
    return record(profile, requests_every(50_000, count), rule, **(WIDE_SMALL | fields))


PROFILE_FIELDS = frozenset(find_profile(LOSES).to_dict())


def test_a_lost_completion_is_named_with_its_room_its_sender_and_its_time():
    found = one_fault(LOSES, "drop")
    event = found.touched("r")[0]
    assert found.summary["blame"] == (
        f"7 pages of 1 request on decode DP 0 are stuck: the completion of room "
        f"{event['bootstrap_room']} from prefill TP 0 was dropped at "
        f"{event['sent_us'] / 1e6:.3f} s, and nothing ever times it out"
    )


def test_several_requests_and_their_events_are_counted():
    found = one_fault(LOSES, "drop", which=("q1", "q2", "q4"))
    first = found.of("q1")[0]
    assert found.summary["blame"].startswith(
        "21 pages of 3 requests on decode DP 0 are stuck: the completion of room "
        f"{first['bootstrap_room']} from prefill TP 0 was dropped"
    )
    assert "(the first of 3 events that faults touched)" in found.summary["blame"]


def test_pages_that_wait_for_ever_are_not_put_down_to_a_completion_that_came_late():
    """Of a transfer's four completions one is late and a later one is lost."""
    ranks = {"mla": False, "prefill_tp": 4, "decode_tp": 4, "decode_dp": 1}
    found = record(
        LOSES,
        requests_every(50_000, 6),
        FaultRule("late", "delay", request_ids=frozenset({"q1"}), delay_us=200_000),
        FaultRule("gone", "drop", request_ids=frozenset({"q2"}), prefill_tp_ranks=frozenset({2})),
        FaultRule(
            "late-too",
            "delay",
            request_ids=frozenset({"q2"}),
            prefill_tp_ranks=frozenset({0}),
            delay_us=200_000,
        ),
        **(WIDE_SMALL | ranks),
    )
    assert found.verdict == "persistent"
    assert "from prefill TP 2 to decode TP 2 was dropped at" in found.summary["blame"]
    assert "late" not in found.summary["blame"]


def test_where_there_is_a_timeout_nobody_says_that_there_is_none():
    found = one_fault("hardened", "drop")
    assert found.verdict == "transient"
    assert "nothing ever times it out" not in found.summary["blame"]
    assert re.search(r"were held for [\d.]+ s: .* was dropped", found.summary["blame"])
    assert "the last request being" in found.summary["blame"]


def test_a_late_completion_is_told_with_how_late_it_was_and_when_all_was_well_again():
    found = one_fault(LOSES, "delay", delay_us=2_000_000)
    blame, event = found.summary["blame"], found.touched("r")[0]
    assert f"came 2.000 s late, at {event['delivered_us'] / 1e6:.3f} s" in blame
    closed_us = found.summary["evidence"]["closed"]["time_us"]
    assert f"every page was accounted for again at {closed_us / 1e6:.3f} s" in blame
    assert blame.endswith("the last request being running then")


def test_the_second_copy_is_blamed_for_an_over_free_not_the_first():
    found = one_fault(
        "hardened",
        "duplicate",
        direction="prefill",
        copy_delay_us=1_000_000,
        duplicate_acknowledgement="free-again",
        prefill_cache="chunk",
    )
    assert found.summary["direction"] == "over-free"
    again = max(row["delivered_us"] for row in found.touched("r"))
    assert f"came again at {again / 1e6:.3f} s" in found.summary["blame"]
    assert "on prefill DP 0 are free twice" in found.summary["blame"]


def test_pages_that_an_abort_leaks_are_put_down_to_the_client_that_left():
    found = record(
        "hardened",
        requests_every(50_000, 6, output_tokens=400),
        FaultRule("leaves", "abort", request_ids=frozenset({"q3"}), when="waiting"),
        **(WIDE_SMALL | {"abort_in_waiting": "leak", "max_running_requests": 1}),
    )
    blame = found.summary["blame"]
    assert found.summary["kinds"] == {"orphaned": 7}
    assert "are orphaned: the client of room 3 went away at" in blame
    assert "the engine forgot whose they are without releasing them" in blame


def test_wrong_bytes_are_blamed_on_who_wrote_them():
    found = record(
        "hardened",
        requests_every(20_000, 6),
        FaultRule("soon", "early", early_us=1_000_000),
        **(WIDE_SMALL | {"early_events": "believed", "metadata_gate": False}),
    )
    assert found.summary["oracles"]["contents"]
    assert re.match(r"at [\d.]+ m?s q\d read .* on decode0/dp0: ", found.summary["blame"])
    assert "before its" in found.summary["blame"]


def test_a_crash_is_blamed_on_the_event_that_did_it():
    found = one_fault("vllm-0.33", "duplicate", copy_delay_us=100_000)
    assert found.verdict == "inconclusive"
    assert found.summary["blame"].endswith("(crashed the scheduler)")
    assert "came again at" in found.summary["blame"]


def test_a_crash_is_not_put_down_to_a_gap_that_healed():
    rules = (
        FaultRule("late", "delay", request_ids=frozenset({"q1"}), delay_us=500_000),
        FaultRule("twice", "duplicate", request_ids=frozenset({"q4"}), copy_delay_us=100_000),
    )
    found = record("vllm-0.33", requests_every(50_000, 6), *rules, **WIDE_SMALL)
    assert found.summary["episodes"] >= 1
    assert found.summary["why"].startswith("the real engine would have died")
    assert found.summary["blame"].endswith("(crashed the scheduler)")


def test_pages_of_the_wrong_owner_are_not_put_down_to_a_gap_that_healed(make_trace, run_json):
    trace = make_trace(requests=40)
    for seed in range(10, 20):
        _, summary = run_json(trace, "--profile", "sglang-0.5.23", "--swarm", "--seed", seed)
        if summary["why"].startswith("every count balances"):
            assert summary["blame"].startswith("the ledger counts such pages and names none; of")
            assert " room " in summary["blame"]
            return
    raise AssertionError("no seed showed it")


def test_a_clean_replay_blames_nobody():
    found = record("hardened", requests_every(50_000, 4))
    assert found.summary["blame"] is None
    assert found.summary["evidence"] is None


def test_evidence_holds_the_audits_the_owners_and_the_chain_from_cause_to_gap():
    found = one_fault(LOSES, "delay", which=("q1", "q3"), delay_us=2_000_000)
    evidence = found.summary["evidence"]
    assert evidence["opened"]["gap"] != 0
    assert evidence["closed"]["gap"] == 0
    assert evidence["opened"]["audit"] <= evidence["widest"]["audit"] < evidence["closed"]["audit"]
    assert {owner["request_id"] for owner in evidence["owners"]} == {"q1", "q3"}
    assert evidence["owners_total"] == 2
    times = [step["time_us"] for step in evidence["chain"]]
    assert times == sorted(times)
    assert {step["request_id"] for step in evidence["chain"]} == {"q1"}
    said = " | ".join(step["what"] for step in evidence["chain"])
    assert "2.000 s late" in said
    assert f"7 pages of q1 are held, audit {evidence['opened']['audit']}" in said
    assert said.endswith(f"the gap is closed, audit {evidence['closed']['audit']}")


def test_long_lists_of_owners_are_cut_and_counted():
    names = tuple(f"q{number}" for number in range(30))
    found = one_fault(LOSES, "drop", which=names, count=30)
    assert len(found.summary["evidence"]["owners"]) == 20
    assert found.summary["evidence"]["owners_total"] == 30


@pytest.mark.parametrize(
    ("ends", "growth"),
    [
        ([0], None),
        ([64], "unknown"),
        ([64, 128, 192], "unknown"),
        ([64, 64, 64, 64], "one-off"),
        ([64, 128, 192, 256], "growing"),
        ([0, 0, 0, 64], "growing"),
        ([-64, -64, -128, -192], "growing"),
        ([128, 64, 64, 64], "one-off"),
        ([64, 64, 64, 0], None),
    ],
)
def test_growth_takes_three_clean_cycles(ends, growth):
    assert growth_of(ends) == growth


def test_every_episode_has_its_own_verdict_growth_and_sentence(make_trace, kvreplay, tmp_path):
    out = tmp_path / "r"
    words = ("--profile", LOSES, "--set", "decode_dp=4", "--set", "decode_tp=4")
    words = (*words, "--set", "prefill_tp=4", "--drop", "0.02", "--delay", "0.1:2000")
    kvreplay("run", make_trace(), *words, "--repeat", "3", "--out", out)
    rows = Recording.open(out).table("episodes").to_pylist()
    summary = json.loads((out / "summary.json").read_text())
    assert {row["verdict"] for row in rows} == {"transient", "persistent"}
    for row in rows:
        is_open = row["closed_audit"] is None
        assert row["verdict"] == ("persistent" if is_open else "transient")
        assert row["growth"] == ("one-off" if is_open else None)
        assert ("stuck" in row["blame"]) == is_open
        assert re.search(r"on decode DP [0-3] ", row["blame"])
    assert summary["blame"] in [row["blame"] for row in rows]


def test_a_gap_that_a_clean_cycle_closes_came_too_late():
    options = SessionOptions(repeats=1, heal_budget_us=1_000_000)
    found = record(
        LOSES,
        requests_every(500_000, 6),
        FaultRule("late", "delay", request_ids=frozenset({"q5"}), delay_us=2_000_000),
        options=options,
        **WIDE_SMALL,
    )
    assert found.verdict == "inconclusive"
    assert found.summary["episodes_open"] == 0
    assert found.summary["blame"].endswith("only after healing had ended")


@pytest.mark.parametrize(
    ("profile", "verdict", "stuck"), [(LOSES, "persistent", 12), ("hardened", "clean", 0)]
)
def test_requests_of_clean_cycles_that_never_end_count_too(profile, verdict, stuck):
    fields = WIDE_SMALL | {"bootstrap_rooms": 6, "used_rooms": "forgotten"}
    if profile == LOSES:
        fields["used_rooms"] = "wedge"
    found = record(profile, requests_every(50_000, 6), options=SessionOptions(repeats=2), **fields)
    assert found.verdict == verdict
    assert found.summary["requests"]["stuck"] == 0
    assert found.summary["oracles"]["liveness"] == stuck
    if stuck:
        assert found.summary["why"].startswith("12 requests of the clean cycles never ended")
        assert found.summary["blame"].startswith("q0#1 is bootstrap on the prefill and prealloc")


def test_requests_that_never_end_are_not_put_down_to_a_gap_that_closed():
    fields = WIDE_SMALL | {"bootstrap_rooms": 6, "used_rooms": "wedge"}
    late = FaultRule("late", "delay", request_ids=frozenset({"q2"}), delay_us=200_000)
    options = SessionOptions(repeats=1)
    found = record(LOSES, requests_every(50_000, 6), late, options=options, **fields)
    assert (found.verdict, found.summary["episodes_open"]) == ("persistent", 0)
    assert found.summary["why"].startswith("6 requests of the clean cycles never ended")
    assert found.summary["blame"].startswith("q0#1 is bootstrap on the prefill and prealloc")
