"""Status lines of SGLang in a block of bytes, and their numbers, without looking at one line alone.

A status line is known by its first field: `#running-req: ` after `Decode batch, `, or `#new-seq: `
of prefill batches (see `formats.sglang_load`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

_SIGN = ord("#")
_COLON, _POINT = ord(":"), ord(".")

#: The numbers that are compared, and whether the greatest counts too; the smallest always does.
_FIELDS = (
    (b"#running-req: ", True),
    (b"#token: ", True),
    (b"#full token: ", True),
    (b"#swa token: ", True),
    (b"#transfer-req: ", False),
    (b"#inflight-req: ", False),
)
_RUNNING = b"#running-req: "
_NEW = b"#new-seq: "


def eights(data: Bytes) -> Words:
    """The eight bytes from every place on, seen as one number, the first byte lowest."""
    return np.ndarray((max(len(data) - 7, 0),), "<u8", data.data, strides=(1,))


def _name(field: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(field[:8], "little"))


@dataclass(frozen=True, slots=True)
class StatusLines:
    """The status lines of a block.

    Attributes:
        data: the block, with at least 32 bytes of padding.
        first_signs: for each status line, where its first field begins; ascending.
        signs: where any `#` stands, from the first status line on.
        names: the eight bytes from each of these on.
        lines: for each of these, the status line that it follows.
    """

    data: Bytes
    first_signs: Positions
    signs: Positions
    names: Words
    lines: Positions

    def __len__(self) -> int:
        return len(self.first_signs)

    def numbers(self) -> Iterator[tuple[Positions, bool]]:
        """For each field its number in each line, -1 where a line lacks it, and whether its
        greatest counts.
        """
        words = eights(self.data)
        for name, counts_greatest in _FIELDS:
            at = np.flatnonzero(self.names == _name(name))
            values_at = self.signs[at] + len(name)
            is_field = self.data[values_at - 2] == _COLON
            at, values_at = at[is_field], values_at[is_field]
            if len(at) == 0:
                continue
            values = np.full(len(self), -1, np.int64)
            values[self.lines[at]] = _parsed(words[values_at])
            yield values, counts_greatest
            if name == _RUNNING:
                yield self._usage(at), True

    def _usage(self, at: Positions) -> Positions:
        """Hundredths in use: `token usage: 0.03, #running-req: 0`, which is all that prefill says."""
        share = [self.data[self.signs[at] - back].astype(np.int64) for back in (6, 5, 4, 3)]
        is_share = share[1] == _POINT
        hundredths = share[0] * 100 + share[2] * 10 + share[3] - ord("0") * 111
        usage = np.full(len(self), -1, np.int64)
        usage[self.lines[at[is_share]]] = hundredths[is_share]
        return usage


def find_status_lines(padded: bytes) -> StatusLines:
    """The status lines of a block that is followed by at least 32 bytes of padding."""
    data = np.frombuffer(padded, np.uint8)
    # From the eighth byte on: what stands before a field is looked at.
    signs = np.flatnonzero(data[8:-32] == _SIGN) + 8
    names = eights(data)[signs]
    # `batch, #running-req` or `batch [12], #running-req`; in prefill batches a number stands before.
    running = np.flatnonzero(names == _name(_RUNNING))
    before = data[signs[running] - 3]
    is_first = names == _name(_NEW)
    is_first[running] = (before == ord("h")) | (before == ord("]"))
    firsts = np.flatnonzero(is_first)
    start = firsts[0] if len(firsts) else len(signs)
    lines = np.cumsum(is_first[start:]) - 1
    return StatusLines(data, signs[firsts], signs[start:], names[start:], lines)


def _parsed(words: Words) -> Positions:
    """The whole numbers that eight bytes begin with; of longer ones the first eight digits.

    All bytes of a number are worked on at once: digits are told from other bytes, shifted to the
    end, and joined in pairs, then fours, then eights.
    """
    digits = words ^ np.uint64(0x3030303030303030)
    others = (digits | (digits + np.uint64(0x0606060606060606))) & np.uint64(0xF0F0F0F0F0F0F0F0)
    lowest = others & (~others + np.uint64(1))
    # The exponent of a power of two, as a float has it; eight digits leave no other byte at all.
    exponents = (lowest.astype(np.float64).view(np.int64) >> 52) - 1023
    count = np.where(lowest == 0, 64, exponents).astype(np.uint64) >> np.uint64(3)
    shift = (np.uint64(8) - count) << np.uint64(3)
    value = np.where(count == 0, np.uint64(0), digits << np.minimum(shift, np.uint64(63)))
    value = value * np.uint64(10) + (value >> np.uint64(8))
    low = np.uint64(0x000000FF000000FF)
    pairs = (value & low) * np.uint64(100 + (1_000_000 << 32))
    pairs += ((value >> np.uint64(16)) & low) * np.uint64(1 + (10_000 << 32))
    return (pairs >> np.uint64(32)).astype(np.int64)
