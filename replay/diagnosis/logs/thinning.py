"""Leaves out status lines where there are many, and nothing that a verdict needs.

A decode worker writes a line every second or so, for each rank; a day's log has millions that differ
by a little. Of a rank's lines of one kind those are kept that begin and end a stretch, and in it
those with the fewest and the most running requests and tokens in use, and with the fewest requests in
transfer. A stretch is `STRETCH_LINES` long or up to twice that, and shorter at the ends of a block
and wherever something other than a status line is said. So the line before and the line after every
check is there, and so is every idle moment and the trend over hours; what is lost is the way between.
"""

from __future__ import annotations

import numpy as np

from replay.diagnosis.logs.status_lines import Bytes, Flags, Positions, StatusLines, Words, eights

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
#: In other lines they stand within so many bytes before it, and the instance at the line's start.
_REACH_BYTES = 64
_NEWLINE, _SPACE, _BRACKET, _COLON = ord("\n"), ord(" "), ord("]"), ord(":")
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
