"""First-token buffers: one owner at a time, first in first out, and who wrote each."""

from collections import deque

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from replay.pair.metadata_slots import EMPTY, MetadataSlots


class SlotMachine(RuleBasedStateMachine):
    """Any sequence of takes, frees and writes, against a queue and two dictionaries."""

    @initialize(count=st.integers(1, 4))
    def make(self, count):
        self.count = count
        self.slots = MetadataSlots(count)
        self.free = deque(range(count))
        self.owner = {}
        self.stamps = {}
        self.strange_writes = 0
        self.attempts = 0

    @precondition(lambda self: self.free)
    @rule()
    def take(self):
        self.attempts += 1
        slot = self.slots.take(self.attempts)
        assert slot not in self.owner, "handed out twice"
        assert slot == self.free.popleft(), "the one that has been free for longest"
        assert self.slots.stamp(slot) == EMPTY, "whoever had it before"
        self.owner[slot], self.stamps[slot] = self.attempts, EMPTY

    @precondition(lambda self: self.owner)
    @rule(data=st.data())
    def give_back(self, data):
        slot = data.draw(st.sampled_from(sorted(self.owner)))
        self.slots.free(slot)
        del self.owner[slot]
        self.free.append(slot)
        self.stamps[slot] = EMPTY

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def bytes_land(self, data):
        slot = data.draw(st.integers(0, self.count - 1))
        writer = data.draw(st.integers(1, self.attempts))
        self.slots.write(slot, writer)
        self.stamps[slot] = writer
        self.strange_writes += self.owner.get(slot) != writer

    @invariant()
    def counts_agree(self):
        if hasattr(self, "slots"):
            assert self.slots.free_count == len(self.free)
            assert self.slots.written_by_another == self.strange_writes

    @invariant()
    def open_slots_bear_the_last_stamp(self):
        for slot in getattr(self, "owner", {}):
            assert self.slots.stamp(slot) == self.stamps[slot]


TestSlotMachine = SlotMachine.TestCase


def test_slots_are_used_again_only_when_all_others_have_been_and_the_oldest_first():
    slots = MetadataSlots(3)
    assert [slots.take(1), slots.take(2)] == [0, 1]
    slots.free(1)
    slots.free(0)
    assert [slots.take(owner) for owner in (3, 4, 5)] == [2, 1, 0]
    assert slots.free_count == 0


def test_a_write_after_the_slot_was_given_back_is_somebody_else_s():
    slots = MetadataSlots(1)
    slot = slots.take(7)
    slots.write(slot, 7)
    assert (slots.stamp(slot), slots.written_by_another) == (7, 0)
    slots.free(slot)
    slots.write(slot, 7)
    assert slots.written_by_another == 1
    assert slots.take(8) == slot
    assert slots.stamp(slot) == EMPTY, "what was written in between is gone"
    slots.write(slot, 7)
    assert (slots.stamp(slot), slots.written_by_another) == (7, 2)
    slots.write(slot, 8)
    assert (slots.stamp(slot), slots.written_by_another) == (8, 2)


def test_a_slot_that_was_never_taken_can_be_written_and_is_nobody_s():
    slots = MetadataSlots(2)
    assert slots.stamp(1) == EMPTY
    slots.write(1, 5)
    assert slots.written_by_another == 1
    assert [slots.stamp(slots.take(6)) for _ in range(2)] == [EMPTY, EMPTY]


def test_no_more_slots_than_there_are():
    slots = MetadataSlots(2)
    slots.take(1)
    slots.take(2)
    assert slots.free_count == 0
    with pytest.raises(IndexError):
        slots.take(3)
