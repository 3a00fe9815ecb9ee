"""Simpler numbers, simplest first: what is tried in the place of a length, a time or a size."""

from __future__ import annotations

from collections.abc import Iterator


def simpler_times(value_us: int, least_us: int = 0) -> Iterator[int]:
    """Smaller times: the least, powers of ten, then the time itself rounded down.

    All are smaller than `value_us`, so that whoever takes one and asks again comes to an end.
    """
    yield from _below(value_us, least_us, [10**power for power in range(2, 16)])
    yield from _rounded(value_us, least_us)


def simpler_counts(value: int, least: int = 1, unit: int = 1) -> Iterator[int]:
    """Smaller counts: the least, whole units doubled again and again, then nearer and nearer.

    Args:
        value: what is to get smaller.
        least: nothing smaller is tried.
        unit: such as the tokens of a page.
    """
    yield from _below(value, least, [unit << power for power in range(40)])
    if unit > 1:
        yield from _below(value, max(least, unit), [value // unit * unit])
    # No finer than an eighth: where two numbers hold each other up, they would creep down by ones.
    step = (value - least) // 2
    while step > value // 16:
        yield value - step
        step //= 2


def _below(value: int, least: int, candidates: list[int]) -> Iterator[int]:
    """Those of the candidates that lie between, the least of all first."""
    for candidate in dict.fromkeys([least, *candidates]):
        if least <= candidate < value:
            yield candidate


def _rounded(value: int, least: int) -> Iterator[int]:
    """The number with one, two or three digits that are not zero."""
    digits = len(str(value))
    for kept in range(1, min(4, digits)):
        step = 10 ** (digits - kept)
        rounded = value // step * step
        if least <= rounded < value:
            yield rounded
