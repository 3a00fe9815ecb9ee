"""Every built-in plan does what it says: it breaks who has the bug, and not who has not."""

import functools

import pytest

from faults.catalogue import builtin_names, builtin_plan
from faults.kinds.registry import KINDS
from faults.plan import parse_plan
from faults.rule import FaultPlan
from replay.profiles.catalogue import find_profile
from replay.profiles.defects import all_defects, with_defects
from replay.profiles.overrides import override
from replay.run.replay_once import ReplayRequest, replay
from replay.run.session import SessionOptions
from traces.dataset import open_trace
from traces.synthesis import write_synthetic_trace
from traces.synthesis_options import SynthesisOptions


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Replay short requests, twenty a second: the summary."""
    path = tmp_path_factory.mktemp("trace") / "small.parquet"
    options = SynthesisOptions(
        requests=150,
        seed=5,
        rate_per_s=20.0,
        prompt_tokens_median=256,
        output_tokens_median=32,
        system_tokens_median=256,
        input_tokens_max=4_000,
        output_tokens_max=200,
    )
    write_synthetic_trace(options, path)
    trace = open_trace(path)

    def replay_on(shows, needs, plan):
        defects = [shows] if shows in all_defects() else []
        profile = with_defects(find_profile("hardened" if defects else shows), defects)
        settings = dict(need.split("=", 1) for need in needs)
        request = ReplayRequest(
            trace=trace,
            profile=override(profile, settings),
            plan=plan,
            options=SessionOptions(),
            device="cpu",
        )
        return replay(request)

    return replay_on


def assert_all_was_seen(summary):
    assert summary["faults"]["rules_never_fired"] == []
    assert summary["faults"]["rules_without_effect"] == []


@pytest.fixture(scope="module")
def run_without_faults(run):
    """The same without a fault, once for each engine and what a plan needs of it."""
    return functools.cache(lambda shows, needs: run(shows, needs, FaultPlan()))


@pytest.mark.slow
@pytest.mark.parametrize("name", builtin_names())
def test_a_plan_breaks_the_engine_that_has_the_bug(run, run_without_faults, name):
    plan = builtin_plan(name)
    facts = plan.facts
    summary = run(facts.shows, facts.needs, plan.plan)
    assert_all_was_seen(summary)
    assert summary["verdict"] == facts.verdict, summary["why"]
    if facts.verdict == "inconclusive":
        assert summary["engine_died_us"] is not None, "the report is of a crash"
    without = run_without_faults(facts.shows, tuple(facts.needs))
    assert without["verdict"] == "clean", "it is the plan that does it"


@pytest.mark.slow
@pytest.mark.parametrize("name", builtin_names())
def test_a_plan_does_hardened_no_harm(run, name):
    plan = builtin_plan(name)
    summary = run("hardened", plan.facts.needs, plan.plan)
    assert_all_was_seen(summary)
    assert summary["verdict"] in ("clean", "transient"), summary["why"]
    assert summary["requests"]["stuck"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_has_an_effect(run, kind):
    example = KINDS[kind].example
    summary = run("hardened", example.needs, parse_plan(example.text, "example"))
    assert_all_was_seen(summary)
    assert summary["verdict"] in ("clean", "transient"), summary["why"]
