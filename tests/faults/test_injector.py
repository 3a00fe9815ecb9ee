"""The injector: what each fault does, what each condition matches, and who may depend on whom."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.chance import uniform
from faults.events import CompletionEvent
from faults.injector import FaultInjector
from faults.rule import FaultPlan, FaultRule

DUE_US = 1_300


def event(request_id="r", *, direction="decode", prefill=0, decode=0, dp=0, sent_us=1_000):
    return CompletionEvent(
        request_id=request_id,
        direction=direction,
        prefill_tp_rank=prefill,
        decode_tp_rank=decode,
        pool=f"{direction}0/dp{dp}",
        dp_rank=dp,
        bootstrap_room=0,
        pages=1,
        sent_us=sent_us,
        due_us=sent_us + 300,
    )


def decide(*rules, of=None, seed=0):
    return FaultInjector(FaultPlan(rules), seed).decide(of or event())


def arrivals(outcome):
    return [(delivery.at_us, delivery.failed) for delivery in outcome.deliveries]


def fault_names(delivery):
    return [rule.name for rule in delivery.rules]


DROP = FaultRule("lost", "drop")
DELAY = FaultRule("late", "delay", delay_us=10_000)
LATER = FaultRule("later", "delay", delay_us=5_000)
TWICE = FaultRule("twice", "duplicate")
COPIES = FaultRule("copies", "duplicate", copies=2, copy_delay_us=7)
FAIL = FaultRule("failed", "fail")


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((), [(DUE_US, False)]),
        ((DROP,), []),
        ((DELAY,), [(DUE_US + 10_000, False)]),
        ((TWICE,), [(DUE_US, False), (DUE_US + 1_000, False)]),
        ((COPIES,), [(DUE_US, False), (DUE_US + 7, False), (DUE_US + 14, False)]),
        ((FAIL,), [(DUE_US, True)]),
        ((DELAY, LATER), [(DUE_US + 15_000, False)]),
        ((DELAY, TWICE), [(DUE_US + 10_000, False), (DUE_US + 11_000, False)]),
        ((TWICE, FAIL), [(DUE_US, True), (DUE_US + 1_000, True)]),
        ((DELAY, FAIL), [(DUE_US + 10_000, True)]),
        (
            (TWICE, COPIES),
            [(DUE_US, False), (DUE_US + 1_000, False), (DUE_US + 7, False), (DUE_US + 14, False)],
        ),
        ((DROP, DELAY, TWICE, FAIL), []),
    ],
    ids=lambda value: "+".join(r.name for r in value) if isinstance(value, tuple) else "",
)
def test_faults_and_their_combinations(rules, expected):
    assert arrivals(decide(*rules)) == expected
    assert sorted(arrivals(decide(*reversed(rules)))) == sorted(expected)


def test_a_delivery_names_the_rules_that_touched_it():
    outcome = decide(DELAY, TWICE, FAIL)
    assert [fault_names(delivery) for delivery in outcome.deliveries] == [
        ["late", "failed"],
        ["twice"],
    ]
    assert [rule.name for rule in decide(DROP, DELAY).dropped_by] == ["lost"]
    assert fault_names(decide().deliveries[0]) == []


@pytest.mark.parametrize(
    ("conditions", "hit", "missed"),
    [
        ({}, event(), event(direction="prefill")),
        ({"direction": "prefill"}, event(direction="prefill"), event()),
        ({"dp_ranks": frozenset({1, 2})}, event(dp=2), event(dp=0)),
        ({"prefill_tp_ranks": frozenset({3})}, event(prefill=3), event(decode=3)),
        ({"decode_tp_ranks": frozenset({3})}, event(decode=3), event(prefill=3)),
        ({"request_ids": frozenset({"a", "b"})}, event("b"), event("ab")),
        ({"after_us": 50}, event(sent_us=50), event(sent_us=49)),
        ({"before_us": 50}, event(sent_us=49), event(sent_us=50)),
        ({"after_us": 5, "before_us": 9}, event(sent_us=5), event(sent_us=9)),
        (
            {"dp_ranks": frozenset({1}), "after_us": 9},
            event(dp=1, sent_us=9),
            event(dp=1, sent_us=8),
        ),
    ],
)
def test_conditions_all_have_to_hold(conditions, hit, missed):
    rule = FaultRule("rule", "drop", **conditions)
    assert decide(rule, of=hit).deliveries == ()
    assert decide(rule, of=missed).dropped_by == ()


def test_occurrences_count_the_events_that_meet_the_other_conditions():
    rule = FaultRule("rule", "drop", occurrences=frozenset({2, 4}), request_ids=frozenset("abcdef"))
    injector = FaultInjector(FaultPlan((rule,)), 0)
    dropped = [name for name in "aXbXXcdXef" if not injector.decide(event(name)).deliveries]
    assert dropped == ["b", "d"]
    journal = injector.journal.rules["rule"]
    assert (journal.met, journal.planned) == (6, 2)


@pytest.mark.parametrize("probability", [0.01, 0.3, 0.9])
def test_a_probability_is_met_about_that_often(probability):
    events = 20_000
    injector = FaultInjector(FaultPlan((FaultRule("p", "drop", probability=probability),)), 3)
    dropped = sum(not injector.decide(event(f"r-{n}")).deliveries for n in range(events))
    deviation = math.sqrt(events * probability * (1 - probability))
    assert abs(dropped - events * probability) < 5 * deviation


def test_a_probability_of_0_never_hits_and_of_1_always():
    rules = (FaultRule("never", "drop", probability=0.0), FaultRule("always", "fail"))
    injector = FaultInjector(FaultPlan(rules), 0)
    for number in range(500):
        assert arrivals(injector.decide(event(f"r-{number}"))) == [(DUE_US, True)]
    assert injector.journal.never_fired == ["never"]


@pytest.mark.parametrize("varied", ["prefill", "decode"])
def test_the_ranks_of_one_request_are_decided_apart(varied):
    rule = FaultRule("p", "drop", probability=0.5)
    injector = FaultInjector(FaultPlan((rule,)), 0)
    fates = {bool(injector.decide(event("r", **{varied: rank})).deliveries) for rank in range(32)}
    assert fates == {True, False}


@pytest.mark.parametrize("direction", ["decode", "prefill"])
def test_dp_rank_and_time_do_not_enter_a_choice(direction):
    """A request that is routed elsewhere, or arrives later, meets the same fate."""
    rule = FaultRule("p", "drop", direction=direction, probability=0.5)
    for number in range(50):
        injector = FaultInjector(FaultPlan((rule,)), 0)
        fates = {
            bool(
                injector.decide(
                    event(f"r-{number}", direction=direction, dp=dp, sent_us=us)
                ).deliveries
            )
            for dp in range(3)
            for us in (0, 7_000)
        }
        assert len(fates) == 1


_ids = st.integers(0, 30).map("r-{}".format)
_events = st.lists(
    st.builds(
        event,
        _ids,
        direction=st.sampled_from(["decode", "prefill"]),
        prefill=st.integers(0, 2),
        decode=st.integers(0, 2),
        dp=st.integers(0, 2),
        sent_us=st.integers(0, 100),
    ),
    max_size=40,
)


@st.composite
def _plans(draw, occurrences=True):
    rules = []
    for number in range(draw(st.integers(1, 5))):
        fault = draw(st.sampled_from(["drop", "delay", "duplicate", "fail"]))
        chosen = st.none() | st.frozensets(st.integers(1, 20), min_size=1)
        rules.append(
            FaultRule(
                name=f"rule {number}",
                fault=fault,
                direction=draw(st.sampled_from(["decode", "prefill"])),
                probability=draw(st.sampled_from([0.2, 0.5, 1.0])),
                occurrences=draw(chosen) if occurrences else None,
                request_ids=draw(st.none() | st.frozensets(_ids, min_size=1)),
                after_us=draw(st.none() | st.integers(0, 60)),
                delay_us=draw(st.integers(1, 9)) if fault == "delay" else 0,
                copies=draw(st.integers(1, 3)),
            )
        )
    return FaultPlan(tuple(rules))


def decisions(plan, events, seed):
    """Which rules decided to hit which event: (rule, position in the stream)."""
    injector = FaultInjector(plan, seed)
    hits = set()
    for number, each in enumerate(events):
        before = {name: rule.planned for name, rule in injector.journal.rules.items()}
        injector.decide(each)
        hits |= {
            (name, number)
            for name, rule in injector.journal.rules.items()
            if rule.planned > before[name]
        }
    return hits


@given(plan=_plans(), events=_events, seed=st.integers(0, 5), which=st.integers(0, 4))
def test_taking_a_rule_away_changes_no_other_rule_s_decisions(plan, events, seed, which):
    gone = plan.rules[which % len(plan.rules)]
    rest = FaultPlan(tuple(rule for rule in plan.rules if rule is not gone))
    expected = {hit for hit in decisions(plan, events, seed) if hit[0] != gone.name}
    assert decisions(rest, events, seed) == expected


@given(plan=_plans(), events=_events, seed=st.integers(0, 5), order=st.randoms())
def test_the_order_of_rules_does_not_matter(plan, events, seed, order):
    rules = list(plan.rules)
    order.shuffle(rules)
    assert decisions(FaultPlan(tuple(rules)), events, seed) == decisions(plan, events, seed)


@given(
    plan=_plans(occurrences=False),
    events=_events.filter(len),
    seed=st.integers(0, 5),
    which=st.integers(0, 39),
)
def test_taking_an_event_away_changes_no_decision_on_another(plan, events, seed, which):
    which %= len(events)
    rest = events[:which] + events[which + 1 :]
    expected = {
        (name, number - (number > which))
        for name, number in decisions(plan, events, seed)
        if number != which
    }
    assert decisions(plan, rest, seed) == expected


def test_one_seed_repeats_and_two_differ():
    plan = FaultPlan((FaultRule("p", "drop", probability=0.5),))
    stream = [event(f"r-{number}") for number in range(200)]
    assert decisions(plan, stream, 1) == decisions(plan, stream, 1)
    assert decisions(plan, stream, 1) != decisions(plan, stream, 2)


def test_two_rules_of_one_probability_choose_apart():
    rules = tuple(FaultRule(name, "drop", probability=0.5) for name in ("one", "two"))
    hits = decisions(FaultPlan(rules), [event(f"r-{number}") for number in range(200)], 0)
    chosen = {name: {number for hit, number in hits if hit == name} for name in ("one", "two")}
    assert chosen["one"] != chosen["two"]


@given(st.integers(0, 2**63), st.text(max_size=8), st.text(max_size=8))
def test_a_random_number_lies_between_0_and_1(seed, rule_name, identity):
    assert 0.0 <= uniform(seed, rule_name, identity) <= 1.0


def test_the_journal_tells_planned_and_never_fired_apart():
    rules = (
        FaultRule("lost", "drop", request_ids=frozenset({"lost"})),
        FaultRule("late", "delay", delay_us=10_000, request_ids=frozenset({"late"})),
        FaultRule("idle", "fail", request_ids=frozenset({"nobody"})),
    )
    injector = FaultInjector(FaultPlan(rules), 0)
    assert len(injector.journal.never_fired) == 3
    for name in ("lost", "late"):
        injector.decide(event(name))
    assert (injector.journal.planned, injector.journal.never_fired) == (2, ["idle"])


def test_a_disarmed_injector_touches_nothing_and_counts_nothing():
    injector = FaultInjector(FaultPlan((DROP,)), 0)
    injector.disarm()
    assert arrivals(injector.decide(event())) == [(DUE_US, False)]
    journal = injector.journal.rules["lost"]
    assert (journal.met, journal.planned) == (0, 0)
