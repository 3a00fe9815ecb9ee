"""Leaves out status lines where there are many, and nothing that a verdict needs.

A decode worker writes a line every second or so, for each rank; a day's log has millions that differ
by a little. Of a rank's lines of one kind those are kept that begin and end a stretch, and in it
those with the fewest and the most running requests and tokens in use, and with the fewest requests in
transfer. A stretch is `STRETCH_LINES` long, and shorter at the ends of a block and wherever something
other than a status line is said. So the line before and the line after every check is there, and so
is every idle moment and the trend over hours; what is lost is the way between.

All of it works on arrays: no line is looked at alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

#: In SGLang's status lines, between `Decode` or `Prefill` and their numbers.
STATUS_WORD = b" batch"
#: Some minutes of a busy rank.
STRETCH_LINES = 512
#: Fewer lines than this in a block are all kept.
FEW_LINES = 1024

#: Between a line's time and its message stand the ranks.
_RANK_BYTES = 48
#: Before a line's time stands the instance.
_INSTANCE_BYTES = 64
_DIGITS_MAX = 9
_DIGITS = (ord("0"), ord("9"))
_COLON, _NEWLINE, _SPACE, _BRACKET, _POINT = b":\n ]."
_EMPTY = 1 << 40

#: The numbers that are compared, and whether the greatest is kept too; the smallest always is.
_FIELDS = (
    (b"#running-req: ", True),
    (b"#token: ", True),
    (b"#full token: ", True),
    (b"#swa token: ", True),
    (b"#transfer-req: ", False),
    (b"#inflight-req: ", False),
)


def kept_status_lines(
    data: Bytes, words: Positions, starts: Positions, others: Positions
) -> npt.NDArray[np.bool_]:
    """Which status lines are kept.

    Args:
        data: the block, up to a million lines long.
        words: where each status line has `STATUS_WORD`, ascending.
        starts: where each of these lines starts.
        others: where anything else is said, ascending.
    """
    count = len(words)
    kept = np.ones(count, np.bool_)
    if count <= FEW_LINES:
        return kept
    order, heads = _stretches(_writers(data, words, starts), np.searchsorted(others, words))
    kept[:] = False
    kept[order[heads]] = True
    kept[order[np.append(heads[1:], count) - 1]] = True
    # A number and its line in one integer: the least of a stretch then says which line has it.
    index = np.arange(count, dtype=np.int64)
    for values, keeps_greatest in _numbers(data, words):
        known = np.where(values < 0, _EMPTY, values) << 20 | index
        kept[np.minimum.reduceat(known[order], heads) & 0xFFFFF] = True
        if keeps_greatest:
            known = (values + 1) << 20 | index
            kept[np.maximum.reduceat(known[order], heads) & 0xFFFFF] = True
    return kept


def _stretches(writers: npt.NDArray[np.uint64], events: Positions) -> tuple[Positions, Positions]:
    """Lines ordered by writer and then by place, and where in that order stretches begin."""
    order = np.argsort(writers, kind="stable")
    changes = np.ones(len(order), np.bool_)
    changes[1:] = (np.diff(writers[order]) != 0) | (np.diff(events[order]) != 0)
    runs = np.flatnonzero(changes)
    place = np.arange(len(order)) - np.repeat(runs, np.diff(np.append(runs, len(order))))
    return order, np.flatnonzero(place % STRETCH_LINES == 0)


def _writers(data: Bytes, words: Positions, starts: Positions) -> npt.NDArray[np.uint64]:
    """A number for each line that is the same for lines of one kind, rank and instance."""
    before = _window(data, words - _RANK_BYTES, _RANK_BYTES)
    columns = np.arange(_RANK_BYTES, dtype=np.int16)
    line_end = np.where(before == _NEWLINE, columns, np.int16(-1)).max(axis=1)
    colon = np.where(before == _COLON, columns, np.int16(-1)).max(axis=1)
    is_after = (before == _SPACE) | (before == _BRACKET)
    time_end = np.argmax(is_after & (columns > colon[:, None]), axis=1)
    ranks_from = np.where(line_end > colon, line_end, np.where(colon < 0, -1, time_end))
    before = np.where(columns > ranks_from[:, None], before, np.uint8(0))
    writers = _hashed(before)
    first, second = data[starts], data[np.minimum(starts + 1, len(data) - 1)]
    if np.all((first == ord("[")) & (second == ord("2"))):
        return writers
    after = _window(data, starts, _INSTANCE_BYTES)
    is_digit = (after - np.uint8(_DIGITS[0])) <= 9
    year = is_digit[:, :-3] & is_digit[:, 1:-2] & is_digit[:, 2:-1] & is_digit[:, 3:]
    year_at = np.where(year.any(axis=1), np.argmax(year, axis=1), 0)
    after = np.where(np.arange(_INSTANCE_BYTES) < year_at[:, None], after, np.uint8(0))
    return writers * np.uint64(3) + _hashed(after)


def _window(data: Bytes, starts: Positions, width: int) -> Bytes:
    """So many bytes from each place on; what is beyond an end repeats the byte there."""
    places = starts[:, None] + np.arange(width)
    window: Bytes = data[np.clip(places, 0, len(data) - 1)]
    return window


def _hashed(rows: Bytes) -> npt.NDArray[np.uint64]:
    """A number for each row; rows that differ have different ones but for chance (1 in 2**64)."""
    words = np.ascontiguousarray(rows).view(np.uint64)
    hashes = np.zeros(len(words), np.uint64)
    for column in range(words.shape[1]):
        hashes = (hashes ^ words[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    return hashes


def _numbers(data: Bytes, words: Positions) -> Iterator[tuple[Positions, bool]]:
    """For each field its number in each line, -1 where the line has none."""
    signs = np.flatnonzero(data[:-8] == ord("#"))
    lines = np.searchsorted(words, signs) - 1
    signs, lines = signs[lines >= 0], lines[lines >= 0]
    # Eight bytes from every place on, seen as one number.
    eights: npt.NDArray[np.uint64] = np.ndarray(
        (len(data) - 7,), np.uint64, data.data, strides=(1,)
    )
    names = eights[signs]
    for name, keeps_greatest in _FIELDS:
        at = np.flatnonzero(names == np.frombuffer(name[:8], np.uint64)[0])
        colons = np.minimum(signs[at] + len(name) - 2, len(data) - 1)
        at, colons = at[data[colons] == _COLON], colons[data[colons] == _COLON]
        values = np.full(len(words), -1, np.int64)
        values[lines[at]] = _parsed(data, colons + 2)
        yield values, keeps_greatest
        if name == b"#running-req: ":
            # `token usage: 0.03, #running-req: 0`: prefill batches say no tokens.
            share = data[np.clip(signs[at, None] - (6, 5, 4, 3), 0, None)].astype(np.int64)
            usage = np.full(len(words), -1, np.int64)
            is_share = share[:, 1] == _POINT
            hundredths = (share[:, 0] * 100 + share[:, 2] * 10 + share[:, 3]) - 48 * 111
            usage[lines[at[is_share]]] = hundredths[is_share]
            yield usage, True


def _parsed(data: Bytes, starts: Positions) -> Positions:
    """The whole numbers that begin at some places."""
    values = np.zeros(len(starts), np.int64)
    going = np.ones(len(starts), np.bool_)
    for step in range(_DIGITS_MAX):
        digits = data[np.minimum(starts + step, len(data) - 1)] - np.uint8(_DIGITS[0])
        going &= digits <= 9
        if not going.any():
            break
        values = np.where(going, values * 10 + digits, values)
    return values
