"""Any rule that a plan file can hold, for Hypothesis."""

from typing import get_args

from hypothesis import strategies as st

from faults.chance import Burst, LogNormal, Uniform
from faults.events import DECODE_STATES, PREFILL_STATES, STATES_OF_RECEIVERS
from faults.kinds.timeout import TIMEOUT_STATES
from faults.rule import Condition, Detour, FaultRule

REQUESTS = [f"q{number}" for number in range(8)]
SESSIONS = ["s0", "s1", "s2"]

times = st.integers(1, 10**7)


@st.composite
def _uniforms(draw):
    low_us = draw(st.integers(0, 10**6))
    return Uniform(low_us, low_us + draw(st.integers(0, 10**6)))


@st.composite
def _lognormals(draw):
    median_us = draw(times)
    sigma = draw(st.floats(0.01, 10.0))
    return LogNormal(median_us, sigma, median_us + draw(st.integers(0, 10**9)))


durations = times | _uniforms() | _lognormals()


@st.composite
def bursts(draw):
    every_us = draw(st.integers(1, 3_000_000))
    return Burst(
        draw(st.integers(1, every_us)),
        every_us,
        draw(st.sampled_from((0.25, 0.5, 1.0))),
        draw(st.sampled_from(("rank", "all"))),
    )


def some(strategy):
    return st.frozensets(strategy, min_size=1, max_size=3)


@st.composite
def rules(draw, kind, scopes=("rule", "request", "session", "rank"), always_counts=False):
    """A function from a name to a rule of that kind."""
    is_aimed = kind in ("abort", "timeout")
    direction = "decode" if is_aimed else draw(st.sampled_from(("decode", "prefill")))
    given = {"direction": direction}

    def maybe(key, strategy):
        if draw(st.integers(0, 3)) == 0:
            given[key] = draw(strategy)

    maybe("probability", st.floats(0.0, 1.0))
    if always_counts or draw(st.integers(0, 3)) == 0:
        given["occurrences"] = draw(some(st.integers(1, 4)))
        given["occurrences_per"] = draw(st.sampled_from(scopes))
    maybe("request_ids", some(st.sampled_from(REQUESTS)))
    maybe("session_ids", some(st.sampled_from(SESSIONS)))
    maybe("pools", some(st.sampled_from([f"{direction}0/dp0", f"{direction}0/dp1"])))
    maybe("dp_ranks", some(st.integers(0, 1)))
    if not is_aimed:
        maybe("prefill_tp_ranks", some(st.integers(0, 3)))
        maybe("decode_tp_ranks", some(st.integers(0, 3)))
        maybe("states", some(st.sampled_from(STATES_OF_RECEIVERS[direction])))
    maybe("after_us", st.integers(0, 2_000_000))
    maybe("before_us", st.integers(2_000_001, 5_000_000))
    maybe("burst", bursts())
    given |= draw(_what(kind))
    return lambda name: FaultRule(name, kind, **given)


@st.composite
def _what(draw, kind):
    """What a fault of this kind does."""
    if kind == "delay":
        until = draw(st.none() | st.sampled_from(get_args(Condition)))
        if until is None:
            return {"delay_us": draw(durations)}
        return {"until": until, "delay_us": draw(st.just(0) | durations)}
    if kind == "stale":
        until = draw(st.sampled_from((None, "pages-reused", "room-reused")))
        return {"until": until, "delay_us": draw(st.just(0) | durations)}
    if kind == "duplicate":
        copies = draw(st.integers(1, 4))
        each = st.lists(st.integers(0, 10**6), min_size=copies, max_size=copies).map(tuple)
        return {"copies": copies, "copy_delay_us": draw(st.just(0) | durations | each)}
    if kind == "reorder":
        return {"window_us": draw(times)}
    if kind == "misroute":
        return {"to": draw(st.sampled_from(get_args(Detour)))}
    if kind == "early":
        return {"early_us": draw(st.none() | times)}
    if kind == "partial":
        return {"keep": draw(st.integers(1, 3))}
    if kind in ("abort", "timeout"):
        states = TIMEOUT_STATES if kind == "timeout" else (*DECODE_STATES, *PREFILL_STATES)
        return {
            "when": draw(st.sampled_from(states)),
            "delay_us": draw(st.just(0) | durations),
        }
    return {}
