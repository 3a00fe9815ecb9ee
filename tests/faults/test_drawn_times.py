"""Durations and bursts: where they lie, how they are spread, and that no parameter overflows."""

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rule_strategies import bursts, durations

import faults.chance
from faults.chance import DELAY_US_MAX, Burst, LogNormal, Uniform, draw_us, uniform
from faults.events import CompletionEvent
from faults.injector import FaultInjector
from faults.rule import FaultPlan, FaultRule

ALMOST_ONE = 1.0 - 2.0**-53
chances = st.floats(0.0, ALMOST_ONE)
DRAWS = 4_000


@given(durations, chances, chances)
def test_a_duration_lies_in_its_bounds_and_grows_with_chance(duration, one, other):
    low, high = sorted((draw_us(duration, one), draw_us(duration, other)))
    assert low == draw_us(duration, min(one, other))
    if isinstance(duration, Uniform):
        assert duration.low_us <= low <= high <= duration.high_us
    elif isinstance(duration, LogNormal):
        assert 0 <= low <= high <= duration.max_us
    else:
        assert low == high == duration


@pytest.mark.parametrize(
    "duration",
    [
        Uniform(0, 0),
        Uniform(0, DELAY_US_MAX),
        Uniform(DELAY_US_MAX, DELAY_US_MAX),
        LogNormal(1, 10.0),
        LogNormal(DELAY_US_MAX, 10.0),
        LogNormal(DELAY_US_MAX, 1e-9),
        LogNormal(1, 1e-9, 1),
    ],
)
@pytest.mark.parametrize("chance", [0.0, 1e-300, 0.5, ALMOST_ONE])
def test_the_widest_parameters_neither_overflow_nor_leave_their_bounds(duration, chance):
    most_us = duration.high_us if isinstance(duration, Uniform) else duration.max_us
    assert 0 <= draw_us(duration, chance) <= most_us <= DELAY_US_MAX


def test_the_highest_hash_is_still_below_1(monkeypatch):
    """Or a uniform delay could be longer than its longest."""

    class Highest:
        def __init__(self, *_, **__):
            pass

        def digest(self):
            return b"\xff" * 8

    monkeypatch.setattr(faults.chance.hashlib, "blake2b", Highest)
    assert uniform(0, "rule", "event") == ALMOST_ONE
    assert draw_us(Uniform(3, 5), uniform(0, "rule", "event")) == 5


def drawn(delay, seed):
    """Delays of many events under one rule."""
    rule = FaultRule("late", "delay", delay_us=delay)
    injector = FaultInjector(FaultPlan((rule,)), seed)
    events = (
        CompletionEvent(f"q{number}", "decode", 0, 0, "decode0/dp0", 0, 0, 1, 0, 0)
        for number in range(DRAWS)
    )
    return sorted(injector.decide(event).deliveries[0].at_us for event in events)


def distance(values, distribution):
    """The widest distance between the shares seen and expected (Kolmogorov and Smirnov's)."""
    return max(
        max(
            abs(distribution(value) - number / DRAWS),
            abs(distribution(value) - (number + 1) / DRAWS),
        )
        for number, value in enumerate(values)
    )


#: Exceeded by chance once in ten thousand samples; the seeds are fixed, so it never is.
FAR = 2.23 / math.sqrt(DRAWS)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_uniform_delays_are_spread_evenly(seed):
    values = drawn(Uniform(100_000, 300_000), seed)
    assert distance(values, lambda us: (us - 100_000) / 200_001) < FAR
    assert distance(values, lambda us: (us - 100_000) / 220_000) > FAR, "the test can tell"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_log_normal_delays_have_their_median_and_sigma(seed):
    values = drawn(LogNormal(1_000_000, 0.7), seed)
    normal = NormalDist(math.log(1_000_000), 0.7)
    assert distance(values, lambda us: normal.cdf(math.log(us))) < FAR
    wider = NormalDist(math.log(1_000_000), 0.9)
    assert distance(values, lambda us: wider.cdf(math.log(us))) > FAR, "the test can tell"


def test_long_log_normal_delays_are_cut():
    values = drawn(LogNormal(1_000, 2.0, 3_000), 0)
    share = values.count(3_000) / DRAWS
    assert max(values) == 3_000
    assert share == pytest.approx(1 - NormalDist(0, 2).cdf(math.log(3)), abs=0.03)


def test_copies_are_drawn_apart_and_events_too():
    rule = FaultRule("again", "duplicate", copies=3, copy_delay_us=Uniform(0, 10**9))
    injector = FaultInjector(FaultPlan((rule,)), 0)
    times = [
        delivery.at_us
        for name in "abcdef"
        for delivery in injector.decide(
            CompletionEvent(name, "decode", 0, 0, "decode0/dp0", 0, 0, 1, 0, 0)
        ).deliveries[1:]
    ]
    assert len(set(times)) == 18


def test_a_list_gives_each_copy_its_own_delay():
    rule = FaultRule("again", "duplicate", copies=3, copy_delay_us=(900, 5, 40))
    event = CompletionEvent("q0", "decode", 0, 0, "decode0/dp0", 0, 0, 1, 0, 0)
    _, *copies = FaultInjector(FaultPlan((rule,)), 0).decide(event).deliveries
    assert [copy.at_us for copy in copies] == [900, 5, 40]


# Bursts.


def windows(burst, pool, until_us, seed=0, step_us=1):
    return [burst.is_on(seed, "rule", pool, at_us) for at_us in range(0, until_us, step_us)]


@given(
    st.integers(1, 40).flatmap(
        lambda every: st.builds(Burst, st.integers(1, every), st.just(every))
    ),
    st.integers(0, 50),
)
def test_each_slot_has_one_whole_window(burst, seed):
    for slot in range(12):
        start = slot * burst.every_us
        on = [
            at_us
            for at_us in range(start, start + burst.every_us)
            if burst.is_on(seed, "rule", "decode0/dp0", at_us)
        ]
        assert len(on) == burst.length_us
        assert on == list(range(on[0], on[0] + burst.length_us))


@given(bursts(), st.integers(0, 10**12), st.integers(0, 9))
def test_a_burst_of_all_hits_every_rank_at_once(burst, at_us, seed):
    states = {burst.is_on(seed, "rule", f"decode0/dp{rank}", at_us) for rank in range(6)}
    assert burst.hits == "rank" or len(states) == 1


@pytest.mark.parametrize("probability", [0.3, 1.0])
def test_a_burst_is_on_for_its_share_of_time(probability):
    burst = Burst(20, 100, probability)
    on = windows(burst, "decode0/dp0", 200_000)
    slots = [any(on[start : start + 100]) for start in range(0, len(on), 100)]
    assert sum(slots) / len(slots) == pytest.approx(probability, abs=0.04)
    assert sum(on) == 20 * sum(slots)
    opens = [
        on[start : start + 100].index(True)
        for start in range(0, len(on), 100)
        if any(on[start : start + 100])
    ]
    assert min(opens) == 0
    assert max(opens) == 80
    assert sum(opens) / len(opens) == pytest.approx(40, abs=3)


def test_ranks_have_windows_of_their_own_and_so_have_rules_and_seeds():
    burst = Burst(20, 100)
    one = windows(burst, "decode0/dp0", 5_000)
    assert one != windows(burst, "decode0/dp1", 5_000)
    assert one != windows(burst, "decode0/dp0", 5_000, seed=1)
    assert one == windows(burst, "decode0/dp0", 5_000)
    assert one != [burst.is_on(0, "other rule", "decode0/dp0", at_us) for at_us in range(5_000)]
