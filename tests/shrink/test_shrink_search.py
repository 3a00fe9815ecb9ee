"""Delta debugging, simpler numbers and the journal, each without a replay."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.shrink.place import Journal
from replay.shrink.search import keep_few
from replay.shrink.smaller.numbers import simpler_counts, simpler_times


class FakeSearch:
    """Takes the parts themselves for a case, and accepts those that have what it needs."""

    def __init__(self, parts, needed):
        self.case, self.needed, self.tried = tuple(parts), needed, 0

    def accepts(self, candidate):
        self.tried += 1
        if tuple(candidate) == self.case or not self.needed(set(candidate)):
            return False
        self.case = tuple(candidate)
        return True


@given(st.integers(1, 200), st.sets(st.integers(0, 199), max_size=6))
def test_exactly_what_is_needed_is_left(count, wanted):
    needed = {each % count for each in wanted}
    search = FakeSearch(range(count), lambda parts: parts >= needed)
    keep_few(search, lambda: search.case, tuple)
    assert set(search.case) == needed
    assert search.tried < 40 + 12 * (len(needed) + 1) * count.bit_length()


@given(st.integers(1, 40), st.integers(1, 7))
def test_no_single_part_can_be_left_away_whatever_is_needed(count, rest):
    """Also where one part can only go with another."""
    search = FakeSearch(range(count), lambda parts: sum(parts) % 7 == rest or len(parts) == count)
    keep_few(search, lambda: search.case, tuple)
    left = search.case
    assert not any(
        search.accepts(tuple(each for each in left if each != gone))
        for gone in left
        if len(left) > 1
    )


@given(st.integers(0, 10**9), st.integers(0, 50), st.sampled_from([1, 16, 64]))
def test_simpler_numbers_are_smaller_and_come_to_an_end(value, least, unit):
    for simpler in (simpler_times(value, least), simpler_counts(value, least, unit)):
        numbers = list(simpler)
        assert all(least <= number < value for number in numbers)
        assert len(numbers) < 100
        assert not numbers or numbers[0] == least


def test_a_journal_survives_being_cut_off_anywhere(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, {"of": 1})
    for number in range(5):
        journal.add(f"case {number}", number % 2 == 0)
    journal.close()
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size] + b"\x00" * (40 if size % 3 else 0))
        again = Journal(path, {"of": 1})
        for number in range(5):
            if again.get(f"case {number}") is None:
                again.add(f"case {number}", number % 2 == 0)
        again.close()
        assert path.read_bytes() == whole


@pytest.mark.parametrize("line", [b"[]\n", b'{"holds": true}\n', b"{}\n", b"nonsense\n"])
def test_a_line_that_is_none_ends_the_journal(tmp_path, line):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, {})
    journal.add("first", True)
    journal.close()
    with path.open("ab") as file:
        file.write(line + json.dumps({"case": "later", "holds": True}).encode() + b"\n")
    again = Journal(path, {})
    assert (again.get("first"), again.get("later"), len(again)) == (True, None, 1)
    again.close()
