"""Damaged traces: a clear sentence, or rows that keep every rule; never anything else."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_helpers import make_request

from traces.dataset import TraceWriter, open_trace
from traces.errors import TraceError


def damage(data, seed):
    """Overwrite, remove or insert a few bytes."""
    numbers = random.Random(seed)
    for _ in range(numbers.choice([1, 1, 2])):
        start = numbers.randrange(len(data))
        stop = start + numbers.choice([0, 1, 8])
        data = data[:start] + numbers.randbytes(numbers.choice([0, 1, 8])) + data[stop:]
    return data


@pytest.mark.slow
def test_a_damaged_trace_is_refused_or_sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    path = folder / "t.parquet"
    with TraceWriter(
        path, source="caf\N{LATIN SMALL LETTER E WITH ACUTE}", block_size=16
    ) as writer:
        for place in range(60):
            writer.write(make_request(place))
    good = path.read_bytes()
    outcomes = set()

    @settings(max_examples=300, database=None)
    @given(st.integers(0, 2**40))
    def run(seed):
        path.write_bytes(damage(good, seed))
        try:
            trace = open_trace(path)
            assert len(list(trace.iter_requests())) == trace.request_count
        except TraceError as problem:
            assert str(path) in str(problem)
            assert "\n" not in str(problem)
            outcomes.add(False)
        else:
            outcomes.add(True)

    run()
    assert outcomes == {True, False}
