"""In whole replays too: a rule or a request taken away changes no decision of the other rules.

Routing and times may shift when a request is gone, and then a rule that asks for a rank or a time is
about other events; what a rule decides on an event that it is about in both replays never changes.
"""

import dataclasses
from typing import ClassVar
from unittest import mock

import pytest
from fault_helpers import WIDE_SMALL as WIDE
from fault_helpers import record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import faults.injector
from faults.chance import Burst, Chance, Uniform
from faults.events import CompletionEvent, Moment
from faults.injector import BoundRule
from faults.kinds.base import Fate
from faults.rule import FaultRule
from traces.schema import TraceRequest

KINDS = {
    "drop": {},
    "delay": {"delay_us": Uniform(1_000, 900_000)},
    "duplicate": {"copies": 2, "copy_delay_us": Uniform(1_000, 900_000)},
    "reorder": {"window_us": 800_000},
    "misroute": {"to": "room"},
    "early": {},
    "partial": {},
    "fail": {},
    "stale": {},
    "abort": {"when": "moving", "delay_us": Uniform(0, 2_000)},
    "timeout": {"when": "transfer", "delay_us": Uniform(0, 2_000)},
}


class Journal(BoundRule):
    """Writes down what every rule decides on every event that it is about."""

    made: ClassVar[dict] = {}

    def chooses(self, subject, identity):
        is_hit = super().chooses(subject, identity)
        key = self.rule.name, subject.identity
        chance = Chance(self._seed, self.rule.name, identity)
        if not is_hit:
            self.made[key] = None
        elif isinstance(subject, Moment):
            self.made[key] = chance.time_us(self.rule.delay_us, "delay")
        else:
            self.made[key] = self.kind.spares(self.rule, subject, chance), self._alone(subject)
        return is_hit

    def _alone(self, event: CompletionEvent):
        """What the rule makes of the event, in times after it was due."""
        fate = Fate(event)
        self.shape(fate)
        copies = [(copy.after_us, copy.until) for copy in fate.copies]
        held = (fate.late_us, sorted(fate.until))
        return bool(fate.lost_by), fate.has_failed, fate.detour, held, copies


def decisions(requests, rules, seed):
    made = {}
    with (
        mock.patch.object(faults.injector, "BoundRule", Journal),
        mock.patch.object(Journal, "made", made),
    ):
        record(
            "hardened", requests, *rules, seed=seed, prefill_tp=2, decode_tp=4, decode_dp=2, **WIDE
        )
    return made


def the_same_in_both(one, other, names):
    common = {key for key in one.keys() & other.keys() if key[0] in names}
    assert {key: one[key] for key in common} == {key: other[key] for key in common}
    return common


requests = st.lists(
    st.tuples(st.integers(0, 400_000), st.integers(1, 600), st.integers(1, 60)),
    min_size=2,
    max_size=8,
).map(
    lambda rows: [
        TraceRequest(
            f"q{number}",
            sum(row[0] for row in rows[: number + 1]),
            *rows[number][1:],
            session_id=f"s{number % 2}",
        )
        for number in range(len(rows))
    ]
)
SOME = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))


def rule_of(kind, name, **conditions):
    return FaultRule(name, kind, probability=0.6, **KINDS[kind], **conditions)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@SOME
@given(requests, st.sampled_from(sorted(KINDS)), st.integers(0, 99))
def test_a_rule_taken_away(kind, trace, other, seed):
    gone = rule_of(other, "gone")
    kept = [
        rule_of(kind, "kept"),
        dataclasses.replace(
            rule_of(kind, "per request"), occurrences=frozenset({1, 3}), occurrences_per="request"
        ),
    ]
    both = decisions(trace, [gone, *kept], seed)
    without = decisions(trace, kept, seed)
    assert the_same_in_both(both, without, {"kept", "per request"}) or not without


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@SOME
@given(requests, st.integers(0, 99), st.data())
def test_a_request_taken_away(kind, trace, seed, data):
    rules = [
        rule_of(kind, "any"),
        rule_of(kind, "session", session_ids=frozenset({"s0"})),
        rule_of(kind, "named", request_ids=frozenset({"q0", "q1", "q5"})),
        rule_of(kind, "late", after_us=300_000),
        rule_of(kind, "burst", burst=Burst(200_000, 500_000, hits="all")),
        dataclasses.replace(
            rule_of(kind, "counted"), occurrences=frozenset({1}), occurrences_per="request"
        ),
    ]
    gone = data.draw(st.sampled_from(trace))
    whole = decisions(trace, rules, seed)
    less = decisions([request for request in trace if request is not gone], rules, seed)
    common = the_same_in_both(whole, less, {rule.name for rule in rules})
    assert common or not less
