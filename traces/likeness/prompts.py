"""The most recent generated prompts, in bounded memory, to be continued by age and size."""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np
import numpy.typing as npt

#: Limits: 32 MiB of hashes, and about as much for the prompts themselves.
HASHES_MAX = 2**22
PROMPTS_MAX = 2**17

#: Session of a prompt that has none.
NO_SESSION = -1

#: Prompts of each size to examine on either side of the wanted age.
_LOOK_AROUND = 4

#: Weight of a relative error in size compared with one in age.
_SIZE_WEIGHT = 4.0

_SIZE_CLASSES = 33

_Hashes = npt.NDArray[np.uint64]


class PromptReservoir:
    """Stores prompts by row number, oldest first, and finds one of a given age and size.

    `add` announces a prompt, in row order, and makes it available; `keep_hashes` adds its hashes.
    `trim` forgets the oldest prompts. Ages count prompts, 1 for the last one.
    """

    def __init__(self) -> None:
        self._first_row = 0
        self._input_tokens: list[int] = []
        self._full_blocks: list[int] = []
        self._sessions: list[int] = []
        self._hashes: list[_Hashes] = []
        self._hash_count = 0
        # Prompts that can be continued, by the bit length of their number of full blocks: rows of
        # that size, ascending. A prompt that a later one contains completely is replaced by it.
        self._by_size: list[list[int]] = [[] for _ in range(_SIZE_CLASSES)]
        # (full blocks, row) of the last prompt of every session, ascending.
        self._open_sessions: list[tuple[int, int]] = []

    def add(self, input_tokens: int, full_blocks: int, session: int, has_hashes: bool) -> None:
        """Announce the next prompt: its length, its full blocks, and its session."""
        row = self._first_row + len(self._full_blocks)
        self._input_tokens.append(input_tokens)
        self._full_blocks.append(full_blocks)
        self._sessions.append(session)
        if has_hashes:
            self._by_size[full_blocks.bit_length()].append(row)
        if session != NO_SESSION:
            insort(self._open_sessions, (full_blocks, row))

    def keep_hashes(self, hashes: _Hashes) -> None:
        """Keep the hashes (a view) of the first announced prompt that has none yet."""
        self._hashes.append(hashes)
        self._hash_count += hashes.size

    def input_tokens(self, row: int) -> int:
        """Return the length of a kept prompt."""
        return self._input_tokens[row - self._first_row]

    def full_blocks(self, row: int) -> int:
        """Return the number of full blocks of a kept prompt, which another prompt can begin with."""
        return self._full_blocks[row - self._first_row]

    def session(self, row: int) -> int:
        """Return the session of a kept prompt, or `NO_SESSION`."""
        return self._sessions[row - self._first_row]

    def hashes(self, row: int) -> _Hashes:
        """Return the hashes of a kept prompt."""
        return self._hashes[row - self._first_row]

    def find(self, age: int, full_blocks: int) -> int | None:
        """Return a prompt with hashes of about this age and with at least `full_blocks` full blocks.

        If no prompt is long enough, return the longest; None if there is none.
        """
        first = self._first_row
        wanted = first + len(self._full_blocks) - age
        longer: list[int] = []
        for rows in self._by_size[full_blocks.bit_length() :]:
            if rows:
                longer += _around(rows, wanted)
        longer = [found for found in longer if self._full_blocks[found - first] >= full_blocks]
        if not longer:
            longer = next((_around(rows, wanted) for rows in reversed(self._by_size) if rows), [])
        return self._best(longer, age, full_blocks)

    def find_session(self, age: int, full_blocks: int) -> int | None:
        """Return the last prompt of a session, of about this age and size; None without sessions."""
        wanted = self._first_row + len(self._full_blocks) - age
        near: list[tuple[int, int]] = []
        for size in (full_blocks, full_blocks + 1, full_blocks + 2, full_blocks + 4):
            place = bisect_left(self._open_sessions, (size, wanted))
            near += self._open_sessions[max(place - _LOOK_AROUND, 0) : place + 2 * _LOOK_AROUND]
        # For a long prompt, one percent less makes no difference.
        shortest = full_blocks - full_blocks // 100
        longer = [row for size, row in near if size >= shortest]
        return self._best(longer or [row for _, row in near], age, full_blocks)

    def take_up(self, row: int, blocks: int, *, in_session: bool) -> None:
        """Record that a new prompt begins with `blocks` blocks of a kept one, or continues its session."""
        full_blocks = self.full_blocks(row)
        if 0 < full_blocks <= blocks:
            rows = self._by_size[full_blocks.bit_length()]
            found = bisect_left(rows, row)
            if rows[found : found + 1] == [row]:
                del rows[found]
        if in_session:
            del self._open_sessions[bisect_left(self._open_sessions, (full_blocks, row))]

    def trim(self) -> None:
        """Forget the oldest prompts beyond `HASHES_MAX` hashes or `PROMPTS_MAX` prompts."""
        surplus, hash_count = max(len(self._hashes) - PROMPTS_MAX, 0), self._hash_count
        for hashes in self._hashes[:surplus]:
            hash_count -= hashes.size
        while hash_count > HASHES_MAX:
            hash_count -= self._hashes[surplus].size
            surplus += 1
        if not surplus:
            return
        self._hash_count = hash_count
        self._first_row += surplus
        del self._input_tokens[:surplus]
        del self._full_blocks[:surplus]
        del self._sessions[:surplus]
        del self._hashes[:surplus]
        for rows in self._by_size:
            del rows[: bisect_left(rows, self._first_row)]
        self._open_sessions = [kept for kept in self._open_sessions if kept[1] >= self._first_row]

    def _best(self, candidates: list[int], age: int, full_blocks: int) -> int | None:
        """Return the candidate whose age and size are nearest, both relatively."""
        first, wanted = self._first_row, self._first_row + len(self._full_blocks) - age
        size_weight = _SIZE_WEIGHT / (full_blocks + 1)
        return min(
            candidates,
            key=lambda found: (
                abs(found - wanted) / age
                + abs(self._full_blocks[found - first] - full_blocks) * size_weight
            ),
            default=None,
        )


def _around(rows: list[int], row: int) -> list[int]:
    """Return some of the ascending rows on both sides of `row`."""
    place = bisect_left(rows, row)
    return rows[place - _LOOK_AROUND if place > _LOOK_AROUND else 0 : place + _LOOK_AROUND]
