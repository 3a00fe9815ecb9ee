"""`trace synth --like` where the source is tiny, odd or any at all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from likeness_helpers import like, rows_of
from trace_helpers import make_request

from traces.dataset import TraceWriter, open_trace
from traces.errors import TraceError
from traces.likeness.fitting import fit_trace
from traces.likeness.generation import LikenessOptions
from traces.statistics.inspection import compare_traces, inspect_trace


def test_a_model_counted_by_hand(write_trace):
    rows = [
        make_request(i, input_tokens=tokens, block_hashes=np.array(hashes, np.uint64), **more)
        for i, (tokens, hashes, more) in enumerate(
            [
                (40, [1, 2, 3], {"session_id": "a", "cancel_us": None}),
                (48, [1, 2, 4], {"session_id": "b", "cancel_us": 15, "priority": 3}),
                (40, [1, 2, 3], {"session_id": None, "cancel_us": None}),  # all, the tail too
                (16, [9], {"session_id": None, "cancel_us": None}),
                (48, [1, 2, 4], {"session_id": "b", "cancel_us": None}),  # all, and no tail
            ]
        )
    ]
    model = fit_trace(write_trace(rows))
    found = {name: model.rows[name].tolist() for name in model.rows.dtype.names}
    assert found["blocks_seen"] == [0, 2, 2, 0, 3]
    assert found["is_repeat"] == [False, False, True, False, False]
    assert found["context_age"] == [0, 1, 2, 0, 3]
    assert found["session_age"] == [0, 0, 0, 0, 3]
    assert found["has_session"] == [True, True, False, False, True]
    assert found["abort_after_us"] == [-1, 5, -1, -1, -1]
    assert found["gap_us"] == [10] * 5
    assert (model.request_count, model.duration_us, model.block_size) == (5, 40, 16)


@pytest.mark.parametrize("block_size", [64, 512])
def test_repeated_prompts_repeat(write_trace, tmp_path, block_size):
    """200 prompts that end in a partial block, each sent five times: four fifths are seen."""
    rows = []
    for index in range(1000):
        tokens, first = 100 + index % 200, 10 * (index % 200)
        hashes = np.arange(first, first + -(-tokens // block_size), dtype=np.uint64)
        changes = {"input_tokens": tokens, "block_hashes": hashes, "session_id": None}
        rows.append(make_request(index, **changes))
    source = write_trace(rows, block_size=block_size)
    facts = compare_traces(like(source, tmp_path / "like", 3000), source)
    assert facts["prefix_hit_rate"]["against"] == pytest.approx(0.8)
    assert abs(facts["prefix_hit_rate"]["difference_points"]) < 1
    assert facts["columns"]["input_tokens"]["ks_distance"] < 0.05


def test_priorities_and_missing_values_keep_their_shares(write_trace, tmp_path):
    rows = [
        make_request(
            index,
            priority=[None, -3, 5, 5][index % 4],
            block_hashes=None if index % 5 == 0 else np.arange(3, dtype=np.uint64) + 9 * index,
            session_id=f"s{index // 3}" if index % 2 else None,
        )
        for index in range(1000)
    ]
    path = like(write_trace(rows), tmp_path / "like", 2000)
    made = rows_of(path)
    assert inspect_trace(path)["priorities"] == {"-3": 500, "5": 1000}
    assert sum(row.block_hashes is None for row in made) == 400
    assert sum(row.session_id is not None for row in made) == 1000


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("block_size", [None, 16])
def test_sources_with_hardly_anything_in_them(write_trace, tmp_path, count, block_size):
    nothing = {"session_id": None, "cancel_us": None, "priority": None, "arrival_us": 77}
    if block_size is None:
        nothing["block_hashes"] = None
    source = write_trace([make_request(i, **nothing) for i in range(count)], "s", block_size)
    made = rows_of(like(source, tmp_path / "like", 50))
    assert {row.arrival_us for row in made} == {0}
    assert {(row.input_tokens, row.output_tokens) for row in made} == {(33, 4)}
    assert all(row.session_id is row.cancel_us is row.priority is None for row in made)
    with pytest.raises(TraceError, match="arrive at once, so there is no rate to change"):
        like(source, tmp_path / "like", 5, 0, 3.0)


@pytest.mark.slow
@given(data=st.data(), count=st.integers(1, 30), block_size=st.sampled_from([None, 1, 7]))
def test_any_source_makes_a_valid_trace(data, count, block_size, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    rows, arrival_us = [], 0
    for index in range(count):
        arrival_us += data.draw(st.sampled_from([0, 1, 10**6, 10**11]))
        tokens = data.draw(st.integers(1, 40))
        hashes = None
        if block_size and data.draw(st.booleans()):
            hashes = np.array([data.draw(st.integers(0, 9))] * -(-tokens // block_size), np.uint64)
        delay_us = data.draw(st.sampled_from([None, 0, 5, 2**60]))
        rows.append(
            make_request(
                index,
                arrival_us=arrival_us,
                input_tokens=tokens,
                block_hashes=hashes,
                session_id=data.draw(st.sampled_from([None, "a", "b"])),
                cancel_us=None if delay_us is None else arrival_us + delay_us,
                priority=data.draw(st.sampled_from([None, -128, 127])),
            )
        )
    with TraceWriter(folder / "s", source="t", block_size=block_size) as writer:
        for row in rows:
            writer.write(row)
    made = open_trace(like(folder / "s", folder / "like", 80, data.draw(st.integers(0, 9))))
    made.validate()
    assert (made.request_count, made.block_size) == (80, block_size)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"requests": 0}, "requests is 0; it must be between 1 and 2147483647"),
        ({"seed": -1}, "seed is -1"),
        ({"rate_per_s": float("nan")}, "rate_per_s is nan"),
    ],
)
def test_options_that_make_no_trace_are_refused(changes, message):
    with pytest.raises(TraceError) as caught:
        LikenessOptions(**{"requests": 5, **changes})
    assert message in str(caught.value)
