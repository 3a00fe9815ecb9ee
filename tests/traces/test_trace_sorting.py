"""The external sort: a stable sort by arrival, whatever is spilled and merged on the way."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import sorting
from traces.sorting import ArrivalSorter


def batches_of(arrivals, size):
    """Cut arrivals into batches; each row also knows its place, a name and some hashes."""
    for start in range(0, len(arrivals), size):
        part = arrivals[start : start + size]
        places = range(start, start + len(part))
        yield pa.RecordBatch.from_pydict(
            {
                "arrival_us": pa.array(part, pa.int64()),
                "place": pa.array(places, pa.int64()),
                "name": [f"row {place}" for place in places],
                "hashes": pa.array(
                    [None if place % 3 == 0 else [place] * (place % 5) for place in places],
                    pa.list_(pa.uint64()),
                ),
            }
        )


def sort(arrivals, size, buffer_bytes, folder):
    sorter = ArrivalSorter(Path(folder), buffer_bytes)
    for batch in batches_of(arrivals, size):
        sorter.add(batch)
    rows = [row for batch in sorter.sorted() for row in batch.to_pylist()]
    return rows, len(list(Path(folder).iterdir()))


def expected(arrivals):
    rows = [
        row for batch in batches_of(arrivals, max(1, len(arrivals))) for row in batch.to_pylist()
    ]
    return sorted(rows, key=lambda row: row["arrival_us"])


@given(
    st.lists(st.integers(0, 12), max_size=120),
    st.integers(1, 9),
    st.sampled_from([1, 200, 1000, 10**6]),
    st.sampled_from([2, 3, 32]),
    st.sampled_from([1, 2, 4096]),
)
def test_rows_come_back_in_order_and_ties_as_they_were_added(
    arrivals, size, buffer_bytes, runs_max, chunk_rows
):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(sorting, "RUNS_MAX", runs_max)
        patch.setattr(sorting, "_CHUNK_ROWS", chunk_rows)
        rows, files = sort(arrivals, size, buffer_bytes, folder)
    assert rows == expected(arrivals)
    assert files <= runs_max


def test_what_fits_touches_no_disk(tmp_path):
    rows, files = sort([3, 1, 2], 1, 10**6, tmp_path)
    assert [row["arrival_us"] for row in rows] == [1, 2, 3]
    assert files == 0


def test_a_log_that_is_out_of_order_only_locally_is_one_run(tmp_path):
    numbers = np.random.default_rng(1)
    arrivals = (np.arange(20_000) * 10 + numbers.integers(0, 2000, 20_000)).tolist()
    rows, files = sort(arrivals, 500, 300_000, tmp_path)
    assert rows == expected(arrivals)
    assert files == 1


@pytest.mark.slow
def test_reversed_rows_make_runs_that_are_merged_within_the_bound(tmp_path):
    arrivals = list(range(20_000, 0, -1))
    rows, files = sort(arrivals, 100, 5_000, tmp_path)
    assert [row["arrival_us"] for row in rows] == sorted(arrivals)
    assert files <= sorting.RUNS_MAX
