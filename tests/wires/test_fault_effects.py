"""What came of each rule is counted where events arrive, and every event once for each rule."""

import dataclasses

import pytest

from faults.events import CompletionEvent
from faults.injector import FaultInjector
from faults.rule import FaultPlan, FaultRule
from replay.recording.event_results import ACCEPTED
from replay.wires.effects import FaultEffects
from replay.wires.in_flight import EventTable

RULES = (
    FaultRule("lost", "drop", request_ids=frozenset({"lost"})),
    FaultRule("late", "delay", delay_us=10_000, request_ids=frozenset({"late"})),
    FaultRule("copies", "duplicate", request_ids=frozenset({"copied"}), copies=2),
    FaultRule("idle", "fail", request_ids=frozenset({"nobody"})),
)


class Recorder:
    def __init__(self):
        self.rows = []
        self.event = self.rows.append


class Router:
    """Receivers that wait for everything and last looked at `polled`."""

    polled = 0

    def awaits(self, request, event):
        return True

    def polled_us(self, request, direction):
        return self.polled


def event(name):
    return CompletionEvent(
        request_id=name,
        direction="decode",
        prefill_tp_rank=0,
        decode_tp_rank=0,
        pool="decode0/dp0",
        dp_rank=0,
        bootstrap_room=0,
        pages=1,
        sent_us=1_000,
        due_us=1_300,
    )


class Bench:
    """Events of one plan, sent and delivered by hand."""

    def __init__(self):
        self.recorder, self.router = Recorder(), Router()
        self.injector = FaultInjector(FaultPlan(RULES), 0)
        self.events = EventTable(self.recorder)
        self.effects = FaultEffects(self.events, self.router)

    def send(self, name):
        sent = self.events.number(None, event(name))
        outcome = self.injector.decide(sent.event)
        if outcome.dropped_by:
            self.effects.note_landed(sent, outcome.dropped_by)
        return [self.events.send_off(sent, delivery) for delivery in outcome.deliveries]

    def deliver(self, copy, told=ACCEPTED):
        seen = self.effects.seen_before(copy)
        self.effects.delivered(copy, copy.delivery.at_us, told, seen)

    @property
    def journal(self):
        return self.effects.journal(self.injector.journal)


@pytest.fixture
def bench():
    return Bench()


def test_the_journal_tells_planned_landed_and_never_fired_apart(bench):
    assert len(bench.journal.never_fired) == 4
    bench.send("lost")
    (late,), (_, first, second) = bench.send("late"), bench.send("copied")
    journal = bench.journal
    assert (journal.planned, journal.landed, journal.never_fired) == (3, 1, ["idle"])
    bench.deliver(late)
    assert (bench.journal.rules["late"].planned, bench.journal.rules["late"].landed) == (1, 1)
    bench.deliver(first)
    bench.deliver(second)
    assert bench.journal.rules["copies"].landed == 1
    journal = bench.journal
    assert (journal.planned, journal.landed, journal.never_fired) == (3, 3, ["idle"])


def test_counting_leaves_the_injector_as_it_was(bench):
    before = dataclasses.asdict(bench.injector.journal)
    (late,) = bench.send("late")
    planned = dataclasses.asdict(bench.injector.journal)
    bench.deliver(late)
    assert dataclasses.asdict(bench.injector.journal) == planned != before


def test_what_is_under_way_at_the_end_is_written_in_the_order_of_sending(bench):
    for name in ("copied", "late", "plain"):
        bench.send(name)
    bench.effects.close()
    assert [(row[0], row[1], row[-3]) for row in bench.recorder.rows] == [
        (0, 0, "undelivered"),
        (0, 1, "undelivered"),
        (0, 2, "undelivered"),
        (1, 0, "undelivered"),
        (2, 0, "undelivered"),
    ]
    assert bench.journal.landed == 0


def test_a_delay_that_outlasts_the_replay_counts_if_its_receiver_waited(bench):
    (late,) = bench.send("late")
    late.of.was_missed = True
    bench.effects.close()
    assert bench.recorder.rows[0][-1] is True
    assert (bench.journal.rules["late"].landed, bench.journal.rules["late"].observed) == (1, 1)
