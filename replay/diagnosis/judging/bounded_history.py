"""The few of a long series that are worth showing: the first, the last, and those that differ."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")

#: How many of each are kept.
FIRST_KEPT = 16
LAST_KEPT = 16
CHANGES_KEPT = 64


class BoundedHistory(Generic[Item]):
    """Bounded memory of a series: first, last and changing items, in order, with a count of all."""

    def __init__(self, what: Callable[[Item], object]) -> None:
        """`what` gives what counts as a change when it differs from the item before."""
        self._what = what
        self.total = 0
        self._first: list[tuple[int, Item]] = []
        self._changes: list[tuple[int, Item]] = []
        self._last: deque[tuple[int, Item]] = deque(maxlen=LAST_KEPT)
        self._before: object = None

    def add(self, item: Item) -> None:
        """Take the next one of the series."""
        number, now = self.total, self._what(item)
        self.total += 1
        if number < FIRST_KEPT:
            self._first.append((number, item))
        elif now != self._before and len(self._changes) < CHANGES_KEPT:
            self._changes.append((number, item))
        self._last.append((number, item))
        self._before = now

    def items(self) -> list[Item]:
        """What was kept, in order, each once."""
        kept = dict([*self._first, *self._changes, *self._last])
        return [kept[number] for number in sorted(kept)]
