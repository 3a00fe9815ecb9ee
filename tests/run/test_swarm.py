"""Swarm runs: one seed draws and repeats everything, within bounds, and settings given win."""

import dataclasses
import json
import os
import shlex

import pytest
from fault_helpers import requests_every
from hypothesis import given
from hypothesis import strategies as st

from faults.chance import LogNormal, Uniform
from replay.profiles.catalogue import builtin_profiles, find_profile
from replay.run.swarm import SwarmBounds, draw_swarm

#: Seeds replayed on the hardened profile; a nightly job sets more.
SEEDS = int(os.environ.get("KVREPLAY_SWARM_SEEDS", "40"))
PROFILES = builtin_profiles()
SIZES = ("prefill_tp", "prefill_dp", "decode_tp", "decode_dp")


@given(st.integers(0, 2**40), st.sampled_from(sorted(PROFILES)), st.integers(0, 10**7))
def test_what_is_drawn_stays_within_the_bounds(seed, name, requests):
    profile, bounds = PROFILES[name], SwarmBounds()
    swarm = draw_swarm(seed, profile, requests)
    assert swarm == draw_swarm(seed, profile, requests)
    drawn = dataclasses.replace(profile, **swarm.settings)
    assert tuple(getattr(drawn, size) for size in SIZES) in bounds.topologies or not swarm.settings
    assert 1 <= drawn.prefill_instances <= bounds.instances_max
    assert 1 <= drawn.decode_instances <= bounds.instances_max
    rules = swarm.plan.rules
    assert rules, "at least one kind takes part"
    assert len({rule.fault for rule in rules}) == len(rules)
    least = min(1.0, bounds.hits_min / max(1, requests))
    for rule in rules:
        often = rule.fault in ("reorder", "early", "stale")
        assert (0.5 if often else 0.999 * least) <= rule.probability <= 1.0
        if rule.fault == "abort":
            assert rule.probability <= max(bounds.abort_rate_max, 1.001 * least)
        elif not often:
            assert rule.probability <= max(bounds.probability_max, 1.001 * least)
        assert rule.copies <= bounds.copies_max
        assert rule.window_us <= bounds.delay_us_max
        if rule.fault not in ("delay", "duplicate"):
            continue
        duration = rule.delay_us if rule.fault == "delay" else rule.copy_delay_us
        if isinstance(duration, Uniform):
            assert bounds.delay_us_min <= duration.low_us < duration.high_us <= bounds.delay_us_max
        elif isinstance(duration, LogNormal):
            assert bounds.delay_us_min <= duration.median_us <= duration.max_us
            assert duration.max_us <= bounds.delay_us_max
        else:
            assert bounds.delay_us_min <= duration <= bounds.delay_us_max


@given(st.integers(0, 10**6), st.sampled_from(sorted(PROFILES)), st.data())
def test_fields_that_the_user_has_set_are_not_drawn(seed, name, data):
    fixed = data.draw(st.sets(st.sampled_from((*SIZES, "mla", "decode_instances")), min_size=1))
    settings = draw_swarm(seed, PROFILES[name], 100, fixed).settings
    assert not fixed & set(settings)
    if fixed & set(SIZES):
        assert not set(SIZES) & set(settings), "a part of a topology might not fit the rest"


def test_every_kind_and_topology_comes_up_and_seeds_differ():
    swarms = [draw_swarm(seed, find_profile("hardened"), 1_000) for seed in range(300)]
    assert {rule.fault for swarm in swarms for rule in swarm.plan.rules} == {
        *("drop", "delay", "duplicate", "reorder", "misroute", "early"),
        *("partial", "fail", "stale", "abort", "timeout"),
    }
    topologies = {tuple(swarm.settings[size] for size in SIZES) for swarm in swarms}
    assert topologies == set(SwarmBounds().topologies)
    assert len({repr(swarm) for swarm in swarms}) == 300


def test_no_timeout_is_drawn_that_the_engine_does_not_have():
    for seed in range(200):
        for rule in draw_swarm(seed, find_profile("sglang-0.4.6.post4"), 100).plan.rules:
            assert rule.fault != "timeout"


# Whole runs.


def test_the_printed_line_repeats_the_run_and_another_seed_differs(
    write_trace, kvreplay, run_json, tmp_path
):
    trace = write_trace(requests_every(200_000, 40, 300, 40), name="a trace.parquet")
    words = (trace, "--profile", "sglang-0.5.23", "--swarm", "--set", "page_size=16")
    _, first = run_json(*words, "--seed", "7", "--out", tmp_path / "first")
    line = shlex.split(first["reproduce"])
    assert line[0] == "kvreplay"
    assert "--swarm" in line
    _, out, err = kvreplay(*line[1:], "--json")
    again = json.loads(out)
    assert "Traceback" not in err
    for summary in (first, again):
        summary.pop("timing")
    assert first == again
    _, other = run_json(*words, "--seed", "8")
    assert other["swarm"] != first["swarm"]
    assert other["recording_sha256"] != first["recording_sha256"]
    _, text, _ = kvreplay("run", *words, "--seed", "7")
    for rule in first["swarm"]["rules"]:
        assert rule.removeprefix("swarm ") in text
    recorded = json.loads((tmp_path / "first" / "run.json").read_text())
    assert recorded["swarm"] == first["swarm"]
    assert recorded["profile"]["page_size"] == 16
    for name, value in first["swarm"]["settings"].items():
        assert recorded["profile"][name] == value
        assert name in text


def test_a_setting_wins_over_the_swarm(write_trace, run_json, tmp_path):
    trace = write_trace(requests_every(200_000, 10))
    for seed in range(4):
        words = (trace, "--profile", "hardened", "--swarm", "--seed", seed, "--set", "decode_tp=2")
        out = tmp_path / str(seed)
        run_json(*words, "--set", "decode_dp=2", "--out", out)
        profile = json.loads((out / "run.json").read_text())["profile"]
        assert (profile["decode_tp"], profile["decode_dp"]) == (2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("tenth", range(10))
def test_hardened_is_never_persistent(write_trace, run_json, tenth):
    """KVREPLAY_SWARM_SEEDS sets how many seeds are tried."""
    trace = write_trace(requests_every(150_000, 30, 300, 40))
    for seed in range(tenth, SEEDS, 10):
        words = (trace, "--profile", "hardened", "--swarm", "--seed", seed)
        _, summary = run_json(*words, "--set", "total_tokens=16384", "--set", "page_size=16")
        assert summary["verdict"] != "persistent", summary["reproduce"]
        assert summary["requests"]["stuck"] == 0, summary["reproduce"]
