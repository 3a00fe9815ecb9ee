"""Which page sizes divide a gap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.diagnosis.judging.page_sizes import PAGE_SIZES, likely_page_size, page_fits, pages_text


def test_the_gap_of_the_story() -> None:
    sizes = {fit.page_size: fit.pages for fit in page_fits(34_048)}
    assert (sizes[64], sizes[128], sizes[256]) == (532, 266, 133)
    assert 512 not in sizes


@given(st.integers(-(10**9), 10**9).filter(bool))
def test_every_fit_makes_the_gap_and_no_other_does(gap: int) -> None:
    fits = page_fits(gap)
    assert all(fit.pages * fit.page_size == abs(gap) for fit in fits)
    assert {fit.page_size for fit in fits} == {size for size in PAGE_SIZES if gap % size == 0}


def test_no_gap_has_no_pages() -> None:
    assert page_fits(0) == ()


@pytest.mark.parametrize(
    ("gap", "total", "size"),
    [(34_048, 13_858_304, 64), (-4_224, 3_185_200, 16), (7_064, 42_308, 4), (7, 4_097, 1)],
)
def test_the_likely_page_size_divides_gap_and_pool(gap: int, total: int, size: int) -> None:
    assert likely_page_size(gap, total) == size


def test_the_largest_pages_come_first() -> None:
    assert pages_text(34_048).startswith("whole pages: 133 x 256, 266 x 128, 532 x 64")
