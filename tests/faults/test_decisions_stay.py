"""Taking a rule, or a request, away changes no decision of the other rules: whatever the fault.

The whole outcome is compared, rule by rule and event by event: what is lost, delayed, copied (and when
each copy comes), misrouted, held, kept of a partial transfer, early, and which aborts are aimed when.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_strategies import REQUESTS, SESSIONS, rules

from faults.events import CompletionEvent, Moment
from faults.injector import FaultInjector
from faults.kinds.registry import KINDS
from faults.rule import FaultPlan, FaultRule


@st.composite
def _subjects(draw):
    """One request: its transfer's events in both directions, and moments of its life."""
    name = draw(st.sampled_from(REQUESTS))
    session = draw(st.none() | st.sampled_from(SESSIONS))
    dp_rank, at_us = draw(st.integers(0, 1)), draw(st.integers(0, 5_000_000))
    parts = draw(st.integers(1, 4))
    events = [
        CompletionEvent(
            request_id=name,
            direction=direction,
            prefill_tp_rank=part if direction == "prefill" else 0,
            decode_tp_rank=part if direction == "decode" else 0,
            pool=f"{direction}0/dp{dp_rank}",
            dp_rank=dp_rank,
            bootstrap_room=int(name[1:]),
            pages=3,
            sent_us=at_us + 10 * part,
            due_us=at_us + 10 * part + 300,
            session_id=session,
            state="landed" if direction == "decode" else "in-flight",
            part=part,
            parts=parts,
            dp_ranks=2,
            next_room=int(name[1:]) + 2,
        )
        for direction in ("decode", "prefill")
        for part in range(parts)
    ]
    states = ("prealloc", "transfer", "landed", "bootstrap", "in-flight")
    moments = [
        Moment(
            name,
            session,
            state,
            f"{'prefill' if state in ('bootstrap', 'in-flight') else 'decode'}0/dp{dp_rank}",
            dp_rank,
            at_us + number,
        )
        for number, state in enumerate(states)
    ]
    return [*moments, *events]


_streams = st.lists(_subjects(), max_size=8, unique_by=lambda subjects: subjects[0].request_id)
_plans = st.lists(st.sampled_from(sorted(KINDS)).flatmap(rules), min_size=1, max_size=5)


def named(drawn):
    return FaultPlan(tuple(rule(f"rule {number}") for number, rule in enumerate(drawn)))


def decisions(plan, stream, seed):
    """What each rule does to each event when nothing else is done to it: {(rule, identity): ...}.

    The rules are asked together, in one injector; what they do is then told apart by asking a plan of
    each rule alone for the same subject, which must hit exactly when it hits among the others.
    """
    together = FaultInjector(plan, seed)
    made = {}
    for subject in (each for subjects in stream for each in subjects):
        before = {name: (rule.met, rule.planned) for name, rule in together.journal.rules.items()}
        if isinstance(subject, Moment):
            outcome = [(s.rule.name, s.at_us) for s in together.aim(subject)]
        else:
            early = together.decide_early(subject, subject.sent_us - 1_000_000)
            outcome = (early, together.decide(subject, early is not None))
        for name, rule in together.journal.rules.items():
            change = (rule.met - before[name][0], rule.planned - before[name][1])
            made[name, subject.identity] = change
        made["all", subject.identity] = outcome
    return made


def of_rules(made, names):
    return {key: value for key, value in made.items() if key[0] in names}


def lone_outcomes(plan, stream, seed):
    """Full outcomes of every rule, each in a plan of its own."""
    return {
        rule.name: {
            key[1]: value
            for key, value in decisions(FaultPlan((rule,)), stream, seed).items()
            if key[0] == "all"
        }
        for rule in plan.rules
    }


_counting = st.lists(
    st.sampled_from(("drop", "fail", "partial")).flatmap(
        lambda kind: rules(kind, scopes=("rule", "rank"), always_counts=True)
    ),
    min_size=2,
    max_size=4,
)


@pytest.mark.slow
@given(_plans | _counting, _streams, st.integers(0, 9), st.data())
@settings(max_examples=200)
def test_a_rule_taken_away_changes_no_decision_of_the_others(drawn, stream, seed, data):
    plan = named(drawn)
    gone = data.draw(st.sampled_from(plan.rules))
    rest = FaultPlan(tuple(rule for rule in plan.rules if rule is not gone))
    names = {rule.name for rule in rest.rules}
    assert of_rules(decisions(plan, stream, seed), names) == of_rules(
        decisions(rest, stream, seed), names
    )


@pytest.mark.slow
@given(_plans, _streams, st.integers(0, 9))
def test_what_rules_do_together_is_what_each_does_alone(drawn, stream, seed):
    """The outcome for an event is composed of the outcomes that its rules have alone."""
    plan = named(drawn)
    together = decisions(plan, stream, seed)
    alone = lone_outcomes(plan, stream, seed)
    for subject in (each for subjects in stream for each in subjects):
        outcome = together["all", subject.identity]
        lone = {name: made[subject.identity] for name, made in alone.items()}
        if isinstance(subject, Moment):
            assert sorted(outcome) == sorted(strike for each in lone.values() for strike in each)
            continue
        early, rest = outcome
        lone_early = [each[0] for each in lone.values() if each[0] is not None]
        assert (early is not None) == bool(lone_early)
        if early is not None:
            assert early.at_us == min(each.at_us for each in lone_early)
        lost_by = {rule.name for each in lone.values() for rule in each[1].dropped_by}
        if early is not None:
            assert not [each for each in rest.deliveries if not each.is_copy]
            continue
        assert {rule.name for rule in rest.dropped_by} == lost_by
        if lost_by:
            assert not rest.deliveries
            continue
        _check_composition(subject, rest, [each[1] for each in lone.values()])


def _check_composition(event, outcome, lone):
    originals = [each.deliveries[0] for each in lone if each.deliveries]
    original, *copies = outcome.deliveries
    waits = [each.wait_us + max(0, each.at_us - event.due_us) for each in originals]
    assert original.wait_us + original.at_us - event.due_us == sum(waits)
    assert original.until == frozenset().union(*(each.until for each in originals))
    assert original.failed == any(each.failed for each in originals)
    assert (original.detour is None) == all(each.detour is None for each in originals)

    def after(copy, base):
        """How long after the original a copy comes, and what it waits for beside."""
        late_us = copy.at_us - base.at_us + copy.wait_us - base.wait_us
        return copy.rules[0].name, late_us, sorted(copy.until - base.until)

    expected = [after(copy, each.deliveries[0]) for each in lone for copy in each.deliveries[1:]]
    if not original.until:
        assert sorted(after(copy, original) for copy in copies) == sorted(expected)
    else:
        assert len(copies) == len(expected)


def _stays(plan, stream, seed, gone):
    """Decisions on what is left once some requests are gone equal those among all."""
    kept = [subjects for subjects in stream if not gone(subjects[0])]
    rest = decisions(plan, kept, seed)
    everything = decisions(plan, stream, seed)
    assert {key: everything[key] for key in rest} == rest


_uncounted = st.lists(
    st.sampled_from(sorted(KINDS)).flatmap(lambda kind: rules(kind, scopes=("request",))),
    min_size=1,
    max_size=5,
)


@given(_uncounted, _streams.filter(bool), st.integers(0, 9), st.data())
def test_a_request_taken_away_changes_no_decision_on_the_others(drawn, stream, seed, data):
    name = data.draw(st.sampled_from(stream))[0].request_id
    _stays(named(drawn), stream, seed, lambda subject: subject.request_id == name)


@pytest.mark.slow
@given(_streams.filter(bool), st.integers(0, 9), st.data())
@settings(max_examples=100)
def test_counts_of_one_scope_do_not_depend_on_another(stream, seed, data):
    """Per session, other sessions may go; per rank, other ranks may."""
    scope = data.draw(st.sampled_from(("session", "rank")))
    kinds = st.sampled_from(sorted(KINDS)).flatmap(
        lambda kind: rules(kind, scopes=(scope,), always_counts=True)
    )
    plan = named(data.draw(st.lists(kinds, min_size=1, max_size=4)))
    first = data.draw(st.sampled_from(stream))[0]
    if scope == "session":

        def gone(subject):
            return (subject.session_id or subject.request_id) == (
                first.session_id or first.request_id
            )
    else:

        def gone(subject):
            return subject.dp_rank == first.dp_rank

    _stays(plan, stream, seed, gone)


@given(st.integers(1, 4), st.integers(2, 6), st.integers(0, 20), st.sampled_from((1, 2)))
def test_a_partial_rule_counts_transfers_and_keeps_so_many_of_each(keep, parts, seed, nth):
    rule = FaultRule(
        "some", "partial", keep=keep, occurrences=frozenset({nth}), occurrences_per="rule"
    )
    injector = FaultInjector(FaultPlan((rule,)), seed)
    for transfer in range(3):
        arrived = sum(
            bool(
                injector.decide(
                    CompletionEvent(
                        f"q{transfer}",
                        "decode",
                        0,
                        part,
                        "decode0/dp0",
                        0,
                        0,
                        1,
                        5,
                        9,
                        part=part,
                        parts=parts,
                    )
                ).deliveries
            )
            for part in range(parts)
        )
        assert arrived == (min(keep, parts) if transfer + 1 == nth else parts)
