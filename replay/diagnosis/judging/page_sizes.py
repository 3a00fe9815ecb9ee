"""Page sizes that divide a gap: pages are lost, or freed twice, as a whole.

A gap of 34,048 tokens is 532 pages of 64, 266 of 128 or 133 of 256, and never pages of 512.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Page sizes that engines use, in tokens.
PAGE_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
#: The same by likelihood: sizes that PD deployments use, then those common elsewhere.
_BY_LIKELIHOOD = (64, 128, 32, 16, 256, 512, 8, 4, 2, 1)
#: Below this a page size says little: half of all numbers are even.
_TELLING_SIZE = 16


@dataclass(frozen=True, slots=True)
class PageFit:
    """A way to read a gap as whole pages."""

    page_size: int
    pages: int


def page_fits(gap_tokens: int) -> tuple[PageFit, ...]:
    """Every page size that divides a gap, with the pages it makes; empty without a gap."""
    size = abs(gap_tokens)
    if not size:
        return ()
    return tuple(PageFit(each, size // each) for each in PAGE_SIZES if size % each == 0)


def likely_page_size(gap_tokens: int, total_tokens: int) -> int:
    """The likeliest page size that divides the gap and the pool; 1 always does."""
    return next(
        size for size in _BY_LIKELIHOOD if gap_tokens % size == 0 and total_tokens % size == 0
    )


def pages_text(gap_tokens: int) -> str:
    """A gap in whole pages of telling sizes, or a note that there are none."""
    fits = [fit for fit in page_fits(gap_tokens) if fit.page_size >= _TELLING_SIZE]
    if not fits:
        return (
            "not whole pages of 16 tokens or more: single tokens of a pool with a small page size, "
            "such as decoded tokens"
        )
    told = ", ".join(f"{fit.pages} x {fit.page_size}" for fit in reversed(fits))
    never = [size for size in PAGE_SIZES if size > fits[-1].page_size]
    but = f", never pages of {never[0]}" if never else ""
    return f"whole pages: {told}{but}"
