"""What a rule is said to have done agrees with what an engine could see of it."""

import pytest

from faults.chance import Uniform
from faults.plan_text import plan_text
from faults.rule import FaultPlan, FaultRule

SLOW_BYTES = ("--set", "transfer_us=50000")
ONE_RANK_OF_EIGHT = ("--set", "decode_dp=1")


@pytest.fixture
def faulted(make_trace, run_json, tmp_path):
    """Run a small trace on a profile under some rules: (exit code, summary)."""

    def run(profile, *rules, words=()):
        plan = tmp_path / "plan.toml"
        plan.write_text(plan_text(FaultPlan(rules)))
        trace = make_trace(rate_per_s=20.0, output_tokens_max=64)
        return run_json(trace, "--profile", profile, "--plan", plan, *words)

    return run


def test_a_timeout_that_does_not_run_yet_ends_when_it_does(faulted):
    """Hardened counts from the landing: no timeout of its own ever ends while bytes are read."""
    code, summary = faulted(
        "hardened", FaultRule("ends", "timeout", when="in-flight"), words=SLOW_BYTES
    )
    assert summary["oracles"]["ledger"] == summary["oracles"]["contents"] == 0
    assert summary["faults"]["landed"] > 0
    assert code == 0


def test_a_timeout_that_runs_from_the_sending_ends_under_its_reader(faulted):
    code, summary = faulted(
        "hardened",
        FaultRule("ends", "timeout", when="in-flight"),
        words=(*SLOW_BYTES, "--defect", "hold-timeout-ignores-readers"),
    )
    assert (code, summary["verdict"]) == (1, "persistent")
    assert summary["faults"]["landed"] > 0
    assert "premature-free" in summary["kinds"]


def test_a_hold_that_is_overdue_can_end_on_hardened(faulted):
    rules = (
        FaultRule("late", "delay", "prefill", probability=0.3, delay_us=500_000),
        FaultRule("ends", "timeout", when="in-flight", delay_us=Uniform(100_000, 400_000)),
    )
    code, summary = faulted("hardened", *rules, words=SLOW_BYTES)
    assert code == 0
    assert summary["faults"]["rules_without_effect"] == []


@pytest.mark.parametrize("copies", [1, 10])
def test_the_copies_of_one_event_are_one_observation(faulted, copies):
    rule = FaultRule("copied", "duplicate", probability=0.3, copies=copies, copy_delay_us=40_000)
    _, summary = faulted("hardened", rule)
    faults = summary["faults"]
    assert 0 < faults["observed"] <= faults["landed"] <= faults["planned"]


def test_a_reordering_that_hangs_the_ranks_has_an_effect(faulted):
    """Nobody overtakes any more once the ranks hang, and yet it was this rule that hung them."""
    rule = FaultRule("shuffled", "reorder", probability=0.3, window_us=200_000)
    words = (*ONE_RANK_OF_EIGHT, "--defect", "ranks-poll-alone")
    _, summary = faulted("hardened", rule, words=words)
    assert summary["verdict"] == "persistent"
    assert summary["requests"]["stuck"] > 0
    assert summary["faults"]["rules_without_effect"] == []
