"""Leaves out status lines where there are many, and nothing that a verdict needs.

A decode worker writes a line every second or so, for each rank; a day's log has millions that differ
by a little. Of a rank's lines of one kind those are kept that begin and end a stretch, and in it
those with the fewest and the most running requests and tokens in use, and with the fewest requests in
transfer. A stretch is `STRETCH_LINES` long or up to twice that, and shorter at the ends of a block
and wherever something other than a status line is said. So the line before and the line after every
check is there, and so is every idle moment and the trend over hours; what is lost is the way between.
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


#: A quarter of an hour of a busy rank.
STRETCH_LINES = 1024
#: Fewer lines than this in a block are all kept.
FEW_LINES = 1024

#: `[2025-10-15 11:03:35`: what stands before the ranks in SGLang's own lines.
_TIME_BYTES = 20
_TIME_MARKS = ((0, "["), (5, "-"), (8, "-"), (11, " "), (14, ":"), (17, ":"))
_MILLISECONDS_BYTES = 4
#: Ranks and kind, from there to the first field.
_RANK_BYTES = 64
#: In other lines they stand within this many bytes before it, the instance at the line's start.
_REACH_BYTES = 64
_NEWLINE, _SPACE, _BRACKET = ord("\n"), ord(" "), ord("]")
_EMPTY = 1 << 40


def kept_status_lines(status: StatusLines, starts: Positions, others: Positions) -> Flags:
    """Which status lines are kept.

    Args:
        status: those of one block.
        starts: where each of these lines starts.
        others: where anything else is said, ascending.
    """
    count = len(status)
    if count <= FEW_LINES:
        return np.ones(count, np.bool_)
    order, heads = _stretches(_writers(status, starts), np.searchsorted(others, starts))
    kept = np.zeros(count, np.bool_)
    kept[order[heads]] = True
    kept[order[np.append(heads[1:], count) - 1]] = True
    # A number and its line in one integer: the least of a stretch then says which line has it.
    index = np.arange(count, dtype=np.int64)
    for values, counts_greatest in status.numbers():
        least = np.where(values < 0, _EMPTY, values) << 20 | index
        kept[np.minimum.reduceat(least[order], heads) & 0xFFFFF] = True
        if counts_greatest:
            greatest = (values + 1) << 20 | index
            kept[np.maximum.reduceat(greatest[order], heads) & 0xFFFFF] = True
    return kept


def _stretches(writers: Words, events: Positions) -> tuple[Positions, Positions]:
    """Lines ordered by writer and then by place, and where in that order stretches begin."""
    order = np.argsort(writers, kind="stable")
    changes = np.ones(len(order), np.bool_)
    changes[1:] = (np.diff(writers[order]) != 0) | (np.diff(events[order]) != 0)
    runs = np.flatnonzero(changes)
    lengths = np.diff(np.append(runs, len(order)))
    parts = np.maximum(lengths // STRETCH_LINES, 1)
    place = np.arange(len(order)) - np.repeat(runs, lengths)
    # Stretches of one run are equally long, so that none is a short rest.
    part = place * np.repeat(parts, lengths) // np.repeat(lengths, lengths)
    changes[1:] |= np.diff(part) != 0
    return order, np.flatnonzero(changes)


def _writers(status: StatusLines, starts: Positions) -> Words:
    """A number for each line that is the same for lines of one kind, rank and instance."""
    data, signs = status.data, status.first_signs
    is_plain = np.ones(len(signs), np.bool_)
    for offset, mark in _TIME_MARKS:
        is_plain &= data[starts + offset] == ord(mark)
    ranks = starts + _TIME_BYTES
    ranks = np.where(data[ranks] == ord("."), ranks + _MILLISECONDS_BYTES, ranks)
    is_plain &= (ranks < signs) & (signs - ranks <= _RANK_BYTES)
    writers = np.zeros(len(signs), np.uint64)
    writers[is_plain] = _hashed_spans(data, ranks[is_plain], signs[is_plain])
    is_other = ~is_plain
    if is_other.any():
        writers[is_other] = _searched_writers(data, starts[is_other], signs[is_other])
    return writers


def _hashed_spans(data: Bytes, starts: Positions, ends: Positions) -> Words:
    """A number for the bytes between places that are up to `_RANK_BYTES` apart."""
    words = eights(data)
    hashes = np.zeros(len(starts), np.uint64)
    for offset in range(0, _RANK_BYTES, 8):
        left = np.clip(ends - starts - offset, 0, 8)
        if not left.any():
            break
        beyond = ((8 - left) * 8).astype(np.uint64)
        # A shift by all 64 bits would do nothing.
        word = np.where(left == 0, 0, words[starts + offset] << np.minimum(beyond, 63))
        hashes = _mixed(hashes, word.astype(np.uint64))
    return hashes


def _mixed(hashes: Words, words: Words) -> Words:
    hashes = (hashes ^ words) * np.uint64(0x9E3779B97F4A7C15)
    mixed: Words = hashes ^ (hashes >> np.uint64(29))
    return mixed


def _searched_writers(data: Bytes, starts: Positions, signs: Positions) -> Words:
    """The same for lines with anything else at their start: what stands before a year there, and
    what stands between the last time and the first field.
    """
    columns = np.arange(_REACH_BYTES)
    before = data[np.maximum(signs[:, None] - _REACH_BYTES + columns, 0)]
    line_end = np.where(before == _NEWLINE, columns, -1).max(axis=1)
    colon = np.where(before == _COLON, columns, -1).max(axis=1)
    is_after = ((before == _SPACE) | (before == _BRACKET)) & (columns > colon[:, None])
    time_end = np.where(colon < 0, -1, np.argmax(is_after, axis=1))
    ranks_from = np.where(line_end > colon, line_end, time_end)
    ranks = np.where(columns > ranks_from[:, None], before, np.uint8(0))
    after = data[np.minimum(starts[:, None] + columns, len(data) - 1)]
    is_digit = (after - np.uint8(ord("0"))) <= 9
    year = is_digit[:, :-3] & is_digit[:, 1:-2] & is_digit[:, 2:-1] & is_digit[:, 3:]
    year_at = np.where(year.any(axis=1), np.argmax(year, axis=1), 0)
    instance = np.where(columns < year_at[:, None], after, np.uint8(0))
    hashes = np.zeros(len(signs), np.uint64)
    for rows in (ranks, instance):
        for word in np.ascontiguousarray(rows).view(np.uint64).T:
            hashes = _mixed(hashes, word)
    return hashes
