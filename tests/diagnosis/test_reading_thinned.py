"""What is left of many status lines: all that a verdict needs."""

import numpy as np
import pytest
from composed_logs import decode_line, head, new_terms
from hypothesis import given
from hypothesis import strategies as st

from replay.diagnosis.reading import log_reader
from replay.diagnosis.reading.log_reader import WORDS, LineReader
from replay.diagnosis.reading.scan import Scanner
from replay.diagnosis.reading.thinning import FEW_LINES, STRETCH_LINES, _parsed, find_status_lines
from replay.server_lines.records import Load, Observation

RANKS = ("DP0 TP0", "DP1 TP1", "DP10 TP10")
CHECK = f"pool memory leak detected! {new_terms('full', 1, 2, 9)}\n"


@pytest.fixture
def thin_at_once(monkeypatch):
    monkeypatch.setattr(log_reader, "WHOLE_BYTES", 0)


def records_of(lines):
    reader = LineReader("x", thins=True)
    return [*reader.feed("".join(lines).encode()), *reader.finish()]


def many(count=6000):
    """Rank, running requests, tokens in use and requests in transfer of so many lines."""
    random = np.random.default_rng(3)
    numbers = random.integers(0, (60, 10**6, 40), (count, 3)).tolist()
    return [(RANKS[n % 3], *row) for n, row in enumerate(numbers)]


def status_line(row, n):
    rank, running, token, transfer = row
    return decode_line(n // 100 % 60, rank, running, token, transfer, n // 6000)


@pytest.mark.parametrize("prefix", ["", "2025-10-15T00:04:48.758564289Z ", "decode-1  | "])
def test_extremes_ends_and_neighbours_of_checks_stay(thin_at_once, prefix):
    rows = many()
    lines = [prefix + status_line(row, n) for n, row in enumerate(rows)]
    lines[3000] = f"{prefix}{head(30, 'DP1 TP1')} {CHECK}"
    seen = records_of(lines)
    loads = [record for record in seen if isinstance(record, Load)]
    assert len(loads) < len(rows) / 10
    (check,) = [record for record in seen if isinstance(record, Observation)]
    assert check.place.line == 3001
    kept = {load.place.line - 1 for load in loads}
    for rank in RANKS:
        own = [n for n, row in enumerate(rows) if row[0] == rank and n != 3000]
        before = [n for n in own if n < 3000]
        after = [n for n in own if n > 3000]
        assert {own[0], before[-1], after[0], own[-1]} <= kept
        for column in (1, 2):
            values = [rows[n][column] for n in own]
            left = [rows[n][column] for n in own if n in kept]
            assert (min(left), max(left)) == (min(values), max(values))
        for stretch in range(0, len(before), 2 * STRETCH_LINES):
            part = before[stretch : stretch + 2 * STRETCH_LINES]
            assert min(rows[n][3] for n in part) in [rows[n][3] for n in part if n in kept]


def test_pods_of_one_rank_are_kept_apart(thin_at_once):
    lines = [
        f"[pod/decode-{n % 2}/sglang] "
        + decode_line(n // 100 % 60, "TP0", 3, 1000 * (n % 2) + n % 7)
        for n in range(4000)
    ]
    low = [r.used_tokens for r in records_of(lines) if r.place.instance == "pod/decode-0/sglang"]
    high = [r.used_tokens for r in records_of(lines) if r.place.instance == "pod/decode-1/sglang"]
    assert (min(low), max(low), min(high), max(high)) == (0, 6, 1000, 1006)


def test_prefill_lines_keep_the_extremes_of_their_share(thin_at_once):
    lines = [
        f"{head(n // 100 % 60)} Prefill batch, #new-seq: 1, #new-token: 8192, #cached-token: 0, "
        f"token usage: 0.{20 + n * 7 % 60}, #running-req: 0, #queue-req: 0, #inflight-req: 3\n"
        for n in range(4000)
    ]
    shares = [record.usage for record in records_of(lines)]
    assert len(shares) < 200
    assert (min(shares), max(shares)) == (0.2, 0.79)


def test_the_beginning_of_a_log_and_few_lines_are_left_whole(thin_at_once, monkeypatch):
    lines = [decode_line(n % 60) for n in range(FEW_LINES)]
    assert len(records_of(lines)) == FEW_LINES
    monkeypatch.undo()
    assert len(records_of(lines * 4)) == 4 * FEW_LINES


def test_thinning_leaves_the_order_and_the_records_as_they_are(thin_at_once):
    text = "".join(status_line(row, n) for n, row in enumerate(many())).encode()
    whole = LineReader("x")
    all_records = [*whole.feed(text), *whole.finish()]
    left = iter(all_records)
    assert all(record in left for record in records_of([text.decode()]))


@given(st.lists(st.integers(0, 99_999_999), min_size=1, max_size=20), st.sampled_from(", \n)x"))
def test_numbers_are_parsed_eight_bytes_at_once(numbers, after):
    words = [(str(number) + after + "1234567").encode()[:8] for number in numbers]
    assert _parsed(np.frombuffer(b"".join(words), "<u8")).tolist() == numbers


def test_no_digits_are_nought():
    assert _parsed(np.frombuffer(b"abcdefgh, 123456", "<u8")).tolist() == [0, 0]


def test_a_scanner_finds_every_word_in_any_bytes():
    scanner = Scanner(WORDS)
    for word in sorted(set(WORDS)):
        block = "\n".join(["Größe", "x" * 70_000, f"ä {word} ü", "x"]).encode() + b"\n\xff\xfe"
        assert [number for number, _ in scanner.lines(block).wanted] == [2]


def test_status_lines_are_known_by_their_first_field():
    block = (decode_line() * 3 + "#running-req: 1\n").encode()
    assert len(find_status_lines(block + b"\n" * 64)) == 3
