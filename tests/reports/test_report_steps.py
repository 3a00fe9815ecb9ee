"""Reducing a series must not lose what a reader looks for: its extremes and its ends."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.drawings.steps import POINTS_PER_COLUMN, Steps, total_steps


@st.composite
def step_series(draw, max_size=200):
    count = draw(st.integers(1, max_size))
    gaps = draw(st.lists(st.integers(0, 50), min_size=count, max_size=count))
    values = draw(st.lists(st.integers(-1000, 1000), min_size=count, max_size=count))
    return Steps(np.cumsum(np.array(gaps, np.int64)), np.array(values, np.int64))


def value_at(steps, time_us):
    at = np.searchsorted(steps.time_us, time_us, side="right") - 1
    return None if at < 0 else int(steps.value[at])


@pytest.mark.slow
@given(step_series(), st.integers(1, 20))
def test_reducing_keeps_extremes_ends_and_order(steps, columns):
    reduced = steps.reduce(columns)
    assert reduced.extremes() == steps.extremes()
    assert len(reduced) <= max(POINTS_PER_COLUMN * columns, 2)
    assert reduced.time_us[0] == steps.time_us[0]
    assert reduced.time_us[-1] == steps.time_us[-1]
    assert reduced.value[-1] == steps.value[-1]
    assert (np.diff(reduced.time_us) >= 0).all()


@pytest.mark.slow
@given(step_series(), st.integers(1, 20))
def test_reducing_keeps_the_extremes_of_every_column(steps, columns):
    reduced = steps.reduce(columns)
    span = int(steps.time_us[-1] - steps.time_us[0]) + 1
    origin = steps.time_us[0]

    def spans(of):
        columns_of = (of.time_us - origin) * columns // span
        return {
            int(column): (
                of.value[columns_of == column].min(),
                of.value[columns_of == column].max(),
            )
            for column in np.unique(columns_of)
        }

    kept = spans(reduced)
    for column, (low, high) in spans(steps.changes()).items():
        assert kept[column] == (low, high)


@given(step_series(), st.integers(0, 4000), st.integers(1, 4000))
def test_a_window_says_what_the_whole_says(steps, start, length):
    window = steps.window(start, start + length)
    for time_us in (start, start + length // 2, start + length):
        expected = value_at(steps, time_us)
        if expected is not None and len(window):
            assert value_at(window, time_us) == expected


@given(step_series(), st.lists(st.integers(0, 4000), max_size=6, unique=True), st.integers(1, 8))
def test_within_windows_nothing_is_lost_and_outside_no_extreme(steps, edges, columns):
    """Every change within, the extremes of what lies between windows, and never a made-up point."""
    edges = sorted(edges)[: len(edges) // 2 * 2]
    windows = np.array(edges, np.int64).reshape(-1, 2)
    around, changes = steps.around(windows, columns), steps.changes()

    def points(of, start, end):
        within = (of.time_us >= start) & (of.time_us <= end)
        return list(zip(of.time_us[within].tolist(), of.value[within].tolist(), strict=True))

    for start, end in windows:
        assert points(around, start, end) == points(changes, start, end)
        assert value_at(around, start) == value_at(steps, start)
        assert value_at(around, end) == value_at(steps, end)
    for start, end in pairwise([-1, *edges, 10**9]):
        of = [value for _, value in points(changes, start + 1, end - 1)]
        kept = [value for _, value in points(around, start + 1, end - 1)]
        assert (min(of, default=0), max(of, default=0)) == (
            min(kept, default=0),
            max(kept, default=0),
        )
    assert set(points(around, 0, 10**9)) <= set(points(changes, 0, 10**9))
    assert around.value[-1] == steps.value[-1]


def test_small_series_stay_exact():
    steps = Steps(np.array([0, 5, 5, 9]), np.array([0, 3, 4, 4]))
    reduced = steps.reduce(1)
    assert reduced.time_us.tolist() == [0, 5, 5, 9]
    assert reduced.value.tolist() == [0, 3, 4, 4]


@given(st.lists(step_series(max_size=30), min_size=1, max_size=4), st.integers(0, 2000))
def test_the_total_is_the_sum_at_any_time(series, time_us):
    total = total_steps({str(number): steps for number, steps in enumerate(series)})
    expected = sum(value_at(steps, time_us) or 0 for steps in series)
    assert (value_at(total, time_us) or 0) == expected
