"""Blocks become loss records: nothing is lost or counted twice, and the order never changes."""

import itertools
import random
from collections import Counter

import pytest
from finding_strategies import KINDS, PAGE_SIZE, blocks, findings, grouped
from hypothesis import given
from hypothesis import strategies as st

from replay.verdict.findings.finding import CATEGORIES, MEANINGS, SUPPRESSED, category_of
from reports.parts.findings.part import findings_line, leak_summary


def plain(text):
    return int(text.replace(",", ""))


@given(st.lists(blocks(), max_size=30))
def test_every_block_is_in_exactly_one_record(drawn):
    found = grouped(drawn)
    assert Counter(block for finding in found for block in finding.blocks) == Counter(drawn)
    assert sum(finding.pages for finding in found) == sum(abs(block.pages) for block in drawn)
    for finding in found:
        keys = ("category", "kind", "pool", "lasts", "faults", "rules")
        for block in finding.blocks:
            assert [getattr(block, key) for key in keys] == [getattr(finding, key) for key in keys]


@given(st.lists(blocks(), max_size=20), st.randoms())
def test_the_order_of_blocks_makes_no_difference(drawn, chance):
    mixed = list(drawn)
    random.Random(chance.random()).shuffle(mixed)
    assert grouped(mixed) == grouped(drawn)


@given(findings)
def test_the_worst_come_first(found):
    lasting = [finding.lasts for finding in found]
    assert lasting == sorted(lasting, reverse=True)
    for one, other in itertools.pairwise(found):
        if one.lasts == other.lasts and one.category == other.category:
            assert one.pages >= other.pages
    for lasts in (True, False):
        wrong = [each.category == "double-owned" for each in found if each.lasts is lasts]
        assert wrong == sorted(wrong, reverse=True), "wrong bytes before missing pages"


@given(findings)
def test_the_leak_summary_has_every_category_and_every_page(found):
    rows = leak_summary(found)
    assert [row.category for row in rows] == [*CATEGORIES, SUPPRESSED] == list(MEANINGS)
    assert sum(plain(row.pages) for row in rows) == sum(finding.pages for finding in found)
    assert sum(plain(row.tokens) for row in rows) == PAGE_SIZE * sum(
        plain(row.pages) for row in rows
    )
    assert sum(plain(row.records) for row in rows) == len(found)
    line = findings_line(found)
    assert [part.split(": ")[0] for part in line.split(" \N{MIDDLE DOT} ")] == list(MEANINGS)


@given(blocks(), blocks())
def test_a_fingerprint_names_the_way_and_not_the_numbers(one, other):
    (first,), (second,) = grouped([one]), grouped([other])

    def way(finding):
        return finding.category, finding.kind, finding.side, finding.faults

    assert (first.fingerprint == second.fingerprint) == (way(first) == way(second))


def test_a_fingerprint_stays_what_it_is():
    """People write them into files: another one would let what they accept fail."""
    from replay.verdict.findings.finding import Block

    (found,) = grouped([Block("stuck", "stuck", "decode0/dp3", "r", 5, True, faults=("drop",))])
    assert found.fingerprint == "0894040d465d"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_category(kind):
    for pages in (-1, 0, 1):
        for can_end in (True, False):
            assert category_of(kind, pages, can_end) in CATEGORIES
    assert category_of(kind, -1, False) == "over-freed"


def test_what_nobody_can_give_back_is_definitely_leaked():
    assert category_of("orphaned", 5, can_end=False) == "definitely leaked"
    assert category_of("orphaned", 5, can_end=True) == "still held"
    assert category_of("counter-drift", 5, can_end=False) == "definitely leaked"
    assert category_of("cache-held", 5, can_end=False) == "stuck"
    assert category_of("stale-write", 5, can_end=False) == "double-owned"
