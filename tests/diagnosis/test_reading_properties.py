"""What holds for any log: how it is cut, damaged or interleaved."""

import os
import time

import pytest
from composed_logs import (
    decode_line,
    died_of,
    failed_transfer,
    head,
    new_terms,
    old_check,
    plain,
    read,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.diagnosis.reading.blocks import BlockCutter
from replay.diagnosis.reading.log_reader import WORDS, LineReader, ReadingTally
from replay.server_lines.log_line import LINE_BYTES_MAX

FUZZ_CASES = int(os.environ.get("KVREPLAY_FUZZ_CASES", "50"))

SECOND = st.integers(0, 59)
MESSAGES = st.one_of(
    st.builds(decode_line, SECOND, st.just("TP0"), st.integers(0, 9), st.integers(0, 10**6)),
    st.builds(failed_transfer, st.integers(0, 2**63)),
    st.builds(
        lambda second, available: (
            f"{head(second)} pool memory leak detected! "
            f"{new_terms('full', available, 7, 10**6)}\n{new_terms('swa', 1, 2, 9)}\n"
        ),
        SECOND,
        st.integers(0, 10**6),
    ),
    st.builds(
        lambda n: died_of(old_check(n, 5, 10**6, prefix="ValueError: "), rank="TP0"),
        st.integers(0, 9**6),
    ),
    st.builds(lambda n: died_of(f"Exception: Transfer {n} failed\n"), st.integers(0, 9)),
    st.just('INFO: 10.0.0.1 - "POST /v1/completions HTTP/1.1" 200 OK\n'),
    st.text(max_size=40).map(lambda text: text.replace("\n", " ") + "\n"),
)
LOGS = st.lists(MESSAGES, max_size=30).map("".join)


def read_in_pieces(data, cuts, **options):
    reader = LineReader("server.log", **options)
    records, start = [], 0
    for end in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        records += reader.feed(data[start:end])
        start = end
    return [*records, *reader.finish()]


@pytest.mark.slow
@given(LOGS, st.lists(st.integers(0, 10**6), max_size=20), st.booleans())
def test_how_the_bytes_come_does_not_matter(log, cuts, thins):
    data = log.encode("utf-8", "surrogatepass")
    assert read_in_pieces(data, cuts, thins=thins) == read(data)


@given(
    st.lists(st.one_of(st.binary(max_size=60), st.integers(0, 300)), max_size=20),
    st.lists(st.integers(0, 10**6), max_size=20),
    st.sampled_from([0, 100, 70_000]),
)
def test_blocks_end_where_their_bytes_say(parts, cuts, block_bytes):
    data = b"".join(p if isinstance(p, bytes) else b"x" * p * 700 + b"\n" for p in parts)
    whole = cut_blocks(data, [], block_bytes)
    pieces = cut_blocks(data, cuts, block_bytes)
    if block_bytes:
        assert [examined(block) for block in pieces] == [examined(block) for block in whole]
    assert examined(b"".join(pieces)) == examined(data)


def test_an_endless_line_takes_no_endless_memory():
    data = b"short\n" + b"x" * 3_000_000 + b"\nshort\n"
    for block_bytes in (0, 100, 70_000):
        blocks = cut_blocks(data, range(0, len(data), 1000), block_bytes)
        assert max(map(len, blocks)) < block_bytes + LINE_BYTES_MAX + 2000
        assert b"".join(blocks).count(b"\n") == 3


def cut_blocks(data, cuts, block_bytes):
    cutter, blocks, start = BlockCutter(block_bytes), [], 0
    for end in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        blocks += cutter.feed(data[start:end])
        start = end
    return [block for block in [*blocks, cutter.finish()] if block]


def examined(block):
    return [line[:LINE_BYTES_MAX] for line in block.split(b"\n")]


@pytest.mark.slow
@given(LOGS, st.data())
@settings(max_examples=FUZZ_CASES)
def test_damage_never_stops_the_reading(log, data):
    damaged = bytearray(log.encode("utf-8", "surrogatepass"))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(damaged)))
        end = data.draw(st.integers(at, min(at + 12, len(damaged))))
        damaged[at:end] = data.draw(
            st.one_of(
                st.binary(max_size=6), st.sampled_from([b"[full]", b"=-", b"{", b"\n", b"\x1b["])
            )
        )
    for record in read(bytes(damaged)):
        assert 1 <= record.place.line <= damaged.count(b"\n") + 1


@given(st.binary(max_size=4000))
@settings(max_examples=FUZZ_CASES)
def test_garbage_never_stops_the_reading(garbage):
    tally = ReadingTally()
    reader = LineReader("x", tally)
    assert not [*reader.feed(garbage), *reader.finish()]
    assert tally.bytes_read == len(garbage)


def rank_log(rank, numbers):
    """A rank's own log: tagged checks over two lines, dying at the end of one like 0.4.x."""
    lines = []
    for minute, number in enumerate(numbers):
        lines.append(decode_line(0, rank, number % 9, number, minute=minute))
        lines.append(
            f"{head(5, rank, minute)} pool memory leak detected! {new_terms('full', number, 0, 10**9)}\n"
        )
    return lines


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=5),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_ranks_do_not_disturb_each_other(first, second, random):
    logs = {"DP0 TP0": rank_log("DP0 TP0", first), "DP1 TP1": rank_log("DP1 TP1", second)}
    turns = [rank for rank, lines in logs.items() for _ in lines]
    random.shuffle(turns)
    left = {rank: iter(lines) for rank, lines in logs.items()}
    seen = read("".join(next(left[rank]) for rank in turns))
    for rank, lines in logs.items():
        own = [plain(record)[1:] for record in seen if record.place.rank == rank]
        assert own == [plain(record)[1:] for record in read("".join(lines))]


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 10**5)), min_size=2, max_size=3, unique=True
    ),
    st.randoms(use_true_random=False),
)
def test_the_three_lines_of_several_ranks_are_told_apart_by_their_sums(checks, random):
    """Their first lines have a rank; the others have none, and any order between ranks."""
    sums = {available + evictable for available, evictable in checks}
    if len(sums) < len(checks):
        return
    parts = [old_check(a, e, 10**7).splitlines(keepends=True) for a, e in checks]
    lines = [f"{head(1, f'TP{n}')} {part[0]}" for n, part in enumerate(parts)]
    for part in parts:
        lines += part[1:]
    seen = read("".join(lines))
    assert {(one.place.rank, one.available, one.evictable) for one in seen} == {
        (f"TP{n}", available, evictable) for n, (available, evictable) in enumerate(checks)
    }


def test_only_the_beginning_of_an_endless_line_is_examined():
    tally = ReadingTally()
    reader = LineReader("x", tally)
    check = f"{head()} pool memory leak detected! {new_terms('full', 1, 2, 9)}"
    records = []
    for part in (check.encode(), b"x" * 10**7, check.encode(), b"\n", decode_line().encode()):
        for start in range(0, len(part), 2**16):
            records += reader.feed(part[start : start + 2**16])
    records += reader.finish()
    assert [record.place.line for record in records] == [1, 2]
    assert (tally.lines, tally.long_lines) == (2, 1)


def test_what_waits_comes_out_when_a_log_goes_quiet():
    reader = LineReader("x", thins=True)
    assert not [*reader.feed(decode_line().encode() + b"[2025")]
    assert len([*reader.flush()]) == 1
    rest = decode_line(second=9).encode()[5:]
    records = [*reader.feed(rest), *reader.finish()]
    assert [(record.place.line, record.place.time) for record in records] == [
        (2, "2025-10-15T11:00:09")
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "filling",
    [
        "x",
        "9",
        " ",
        "INFO",
        "A.",
        "a=1 ",
        "[full]",
        "rid='",
        "Error",
        "word ",
        "] ",
        "=",
        "#a: 1, ",
        "é",
    ],
)
def test_no_long_line_is_slow(filling):
    """Each word of a format, before and after what might make a search go back and forth."""
    start = time.process_time()
    long = filling * (LINE_BYTES_MAX // len(filling.encode()))
    for word in (*WORDS, "Decode batch, #running-req: 1, "):
        read(f"{word}{long}\n{long[: -len(word) - 9]}{word}\n")
    assert time.process_time() - start < 0.3 * len(WORDS)


def test_a_block_that_ends_with_a_cut_line_ends_there():
    data = b"a\n" * 10 + b"x" * 100_000 + b"\n" + b"b\n" * 50_000
    whole = cut_blocks(data, [], 70_000)
    pieces = cut_blocks(data, range(0, 100_000, 5000), 70_000)
    assert [examined(block) for block in pieces] == [examined(block) for block in whole]
