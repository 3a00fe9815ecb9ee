"""Virtual time: one order of events on every machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.errors import BoundExceededError
from replay.pair.clock import Clock, Priority


def run_all(clock, until_us=None):
    steps = 0
    while clock.run_next(until_us):
        steps += 1
    return steps


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(list(Priority)), st.booleans())),
    st.sets(st.integers(0, 20)),
)
def test_events_run_by_time_priority_and_order_of_scheduling(events, cancelled):
    clock, seen = Clock(), []
    timers = [
        clock.schedule(
            at_us, priority, lambda n=number: seen.append((n, clock.now_us)), is_work=is_work
        )
        for number, (at_us, priority, is_work) in enumerate(events)
    ]
    for number in cancelled & set(range(len(events))):
        clock.cancel(timers[number])
        clock.cancel(timers[number])
    left = [number for number in range(len(events)) if number not in cancelled]
    assert clock.pending_work == sum(events[number][2] for number in left)
    assert clock.has_events() == bool(left)
    run_all(clock)
    expected = sorted(left, key=lambda number: (events[number][0], events[number][1], number))
    assert seen == [(number, events[number][0]) for number in expected]
    assert clock.pending_work == 0
    assert not clock.has_events()


def test_deliveries_go_before_the_harness_and_the_harness_before_engines():
    assert Priority.DELIVERY < Priority.HARNESS < Priority.ENGINE


def test_time_stops_at_the_limit_and_goes_on_later():
    clock, seen = Clock(), []
    for at_us in (5, 10, 11):
        clock.schedule(at_us, Priority.ENGINE, lambda at=at_us: seen.append(at))
    assert run_all(clock, until_us=10) == 2
    assert (seen, clock.now_us) == ([5, 10], 10)
    assert clock.has_events()
    run_all(clock)
    assert seen == [5, 10, 11]


def test_an_event_may_schedule_another_for_this_instant():
    clock, seen = Clock(), []

    def first():
        clock.schedule(clock.now_us, Priority.DELIVERY, lambda: seen.append("later"))
        seen.append("first")

    clock.schedule(3, Priority.ENGINE, first)
    clock.schedule(4, Priority.DELIVERY, lambda: seen.append("next"))
    run_all(clock)
    assert seen == ["first", "later", "next"]


def test_work_is_no_longer_pending_while_it_runs():
    clock, pending = Clock(), []
    clock.schedule(1, Priority.ENGINE, lambda: pending.append(clock.pending_work))
    clock.schedule(2, Priority.HARNESS, lambda: pending.append(clock.pending_work), is_work=False)
    run_all(clock)
    assert pending == [0, 0]


def test_cancelling_what_has_run_changes_nothing():
    clock = Clock()
    timer = clock.schedule(1, Priority.ENGINE, lambda: None)
    clock.schedule(2, Priority.ENGINE, lambda: None)
    clock.run_next()
    clock.cancel(timer)
    assert clock.pending_work == 1


def test_the_past_is_out_of_reach():
    clock = Clock()
    clock.schedule(5, Priority.ENGINE, lambda: None)
    run_all(clock)
    with pytest.raises(BoundExceededError, match="4 us lies before now, 5 us"):
        clock.schedule(4, Priority.ENGINE, lambda: None)
