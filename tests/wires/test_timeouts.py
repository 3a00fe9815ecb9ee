"""Timeouts: each wait ends on time and in order, and nothing is left of those that are over."""

import heapq
import itertools
import subprocess
import sys
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.pair.clock import Clock, Priority
from replay.watch.requests import PendingWork
from replay.wires.timeouts import TimeoutQueue
from traces.schema import TraceRequest


class Waiter(NamedTuple):
    """All of a request that timeouts look at."""

    ordinal: int


class CountingClock(Clock):
    """A clock that knows how many events of one priority it holds."""

    def __init__(self):
        super().__init__()
        self.timers = 0
        self.most_timers = 0

    def schedule(self, at_us, priority, action, *, is_work=True):
        if priority is not Priority.HARNESS:
            return super().schedule(at_us, priority, action, is_work=is_work)

        def fire():
            self.timers -= 1
            action()

        self.timers += 1
        self.most_timers = max(self.most_timers, self.timers)
        return super().schedule(at_us, priority, fire, is_work=is_work)


class Bench:
    """A queue over waiters that stop waiting when told to, and wait again as often as they like."""

    def __init__(self, timeout_us, again=None):
        self.clock, self.pending = CountingClock(), PendingWork()
        self.over, self.again = set(), dict(again or {})
        self.expired = []
        self.queue = TimeoutQueue(
            self.clock,
            self.pending,
            timeout_us,
            lambda waiter: waiter.ordinal not in self.over,
            self._expire,
        )

    def _expire(self, waiter):
        self.expired.append((self.clock.now_us, waiter.ordinal))
        left = self.again.get(waiter.ordinal, 0)
        self.again[waiter.ordinal] = left - 1
        return left > 0

    def at(self, at_us, action):
        self.clock.schedule(at_us, Priority.DELIVERY, action)

    def watch_at(self, at_us, ordinal):
        self.at(at_us, lambda: self.queue.watch(Waiter(ordinal)))

    def run(self):
        while self.clock.run_next():
            pass
        return self.expired


def test_each_waits_for_the_whole_time_and_they_end_in_the_order_they_began():
    bench = Bench(100)
    for at_us, ordinal in ((0, 3), (5, 1), (5, 2), (70, 0)):
        bench.watch_at(at_us, ordinal)
    assert bench.run() == [(100, 3), (105, 1), (105, 2), (170, 0)]


def test_none_waits_for_ever_and_is_nothing_to_look_forward_to():
    bench = Bench(None)
    bench.watch_at(0, 1)
    assert bench.run() == []
    assert not bench.pending.can_progress(1)
    assert not bench.clock.has_events()


def test_a_timeout_of_nothing_ends_at_once():
    bench = Bench(0)
    bench.watch_at(7, 1)
    assert bench.run() == [(7, 1)]


def test_one_that_may_wait_again_gets_the_whole_time_again_and_goes_to_the_end():
    bench = Bench(100, again={1: 2})
    bench.watch_at(0, 1)
    bench.watch_at(30, 2)
    assert bench.run() == [(100, 1), (130, 2), (200, 1), (300, 1)]


def test_one_whose_wait_is_over_is_left_alone_and_holds_up_nobody():
    bench = Bench(100, again={1: 5})
    for at_us, ordinal in ((0, 1), (10, 2), (20, 3)):
        bench.watch_at(at_us, ordinal)
    bench.at(50, lambda: bench.over.update((1, 2)))
    assert bench.run() == [(120, 3)]


def test_one_may_wait_twice_and_stay_in_view_until_the_second_wait_is_over():
    bench = Bench(100)
    bench.watch_at(0, 1)
    bench.watch_at(40, 1)
    views = []
    for at_us in (99, 120, 141):
        bench.at(at_us, lambda: views.append(bench.pending.can_progress(1)))
    assert bench.run() == [(100, 1), (140, 1)]
    assert views == [True, True, False]


def test_timers_are_not_work_so_that_they_do_not_keep_the_inject_phase_alive():
    bench = Bench(100)
    bench.queue.watch(Waiter(1))
    assert bench.clock.pending_work == 0
    assert bench.clock.has_events()


def test_however_many_wait_there_is_one_timer():
    bench = Bench(1_000)
    for number in range(2_000):
        bench.watch_at(number % 900, number)
    assert len(bench.run()) == 2_000
    assert bench.clock.most_timers == 1


def test_the_queue_stays_short_while_waits_end_early():
    """As in a healthy replay: nearly every wait is over long before its timeout."""
    bench = Bench(1_000)
    lengths = []

    def pass_by(number):
        bench.queue.watch(Waiter(number))
        bench.over.add(number)
        lengths.append(len(bench.queue._waiting))

    for number in range(5_000):
        bench.at(number * 10, lambda number=number: pass_by(number))
    assert bench.run() == []
    # A hundred begin in one timeout's time; those before them must be gone.
    assert max(lengths) <= 2 * 1_000 // 10 + 2
    assert not any(bench.pending.can_progress(number) for number in range(5_000))


def naive(timeout_us, steps, again):
    """(time, who) of every expiry, by a heap with an entry for each wait."""
    again, over, expired = dict(again), set(), []
    order = itertools.count()
    # Deliveries come before timers at equal times.
    events = [(at_us, 0, next(order), kind, who) for at_us, kind, who in steps]
    heapq.heapify(events)
    while events:
        at_us, _, _, kind, who = heapq.heappop(events)
        if kind == "stop":
            over.add(who)
        elif kind == "watch":
            heapq.heappush(events, (at_us + timeout_us, 1, next(order), "expire", who))
        elif who not in over:
            expired.append((at_us, who))
            if again.get(who, 0) > 0:
                heapq.heappush(events, (at_us + timeout_us, 1, next(order), "expire", who))
            again[who] = again.get(who, 0) - 1
    return expired


steps = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from(("watch", "watch", "stop")), st.integers(0, 5)),
    max_size=24,
)


@given(timeout_us=st.integers(1, 40), steps=steps, again=st.dictionaries(st.integers(0, 5), st.integers(0, 4)))  # fmt: skip
def test_it_does_what_a_timer_for_each_would_do(timeout_us, steps, again):
    bench = Bench(timeout_us, again)
    steps = sorted(steps, key=lambda step: step[0])
    for at_us, kind, who in steps:
        if kind == "watch":
            bench.watch_at(at_us, who)
        else:
            bench.at(at_us, lambda who=who: bench.over.add(who))
    assert bench.run() == naive(timeout_us, steps, again)
    assert bench.clock.most_timers <= 1
    assert not any(bench.pending.can_progress(who) for who in range(6))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=40))
def test_pending_work_is_what_was_set_going_and_has_not_happened(steps):
    pending, counts = PendingWork(), [0, 0, 0, 0]
    for is_new, who in steps:
        if is_new:
            pending.expect(Waiter(who))
            counts[who] += 1
        elif counts[who]:
            pending.settle(Waiter(who))
            counts[who] -= 1
        for each, count in enumerate(counts):
            assert pending.can_progress(each) == (count > 0)


@pytest.mark.parametrize("timeout_us", [1, 100])
def test_waits_may_begin_while_another_ends(timeout_us):
    bench = Bench(timeout_us)
    begun = []

    def expire(waiter):
        bench.expired.append((bench.clock.now_us, waiter.ordinal))
        if len(begun) < 5:
            begun.append(waiter)
            queue.watch(Waiter(waiter.ordinal + 1))
        return False

    queue = TimeoutQueue(bench.clock, bench.pending, timeout_us, lambda waiter: True, expire)
    bench.at(0, lambda: queue.watch(Waiter(0)))
    assert bench.run() == [((number + 1) * timeout_us, number) for number in range(6)]
    assert bench.clock.most_timers == 1


def test_a_wait_of_nothing_that_starts_again_does_not_hang_a_replay(make_trace):
    """Hardened asks the sender and waits again: with no time in between, for ever."""
    words = ["run", str(make_trace(requests=3)), "--profile", "hardened"]
    words += ["--set", "waiting_timeout_us=0"]
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (60, 60)); "
        f"from replay.cli import run_command_line; import sys; sys.exit(run_command_line({words}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode in (0, 2)


def test_a_timer_that_concerns_nobody_any_more_is_nothing_to_wait_for(write_trace, run_json):
    """0.5.23 bounds the wait for the first bytes, which have come: nothing can end this one."""
    trace = write_trace([TraceRequest("r", 0, 100, 20)])
    words = ("--profile", "sglang-0.5.23", "--drop", "1")
    verdicts = [
        run_json(trace, *words, "--heal-budget", budget_s)[1]["verdict"] for budget_s in (100, 600)
    ]
    assert verdicts == ["persistent", "persistent"]
