"""kvreplay's allocators against those of real SGLang wheels, index by index."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from operations import Sequence, intentions, pool_pages

from replay.pool.allocator import create_allocator
from replay.pool.arrays import HostArrays
from replay.pool.device_arrays import DeviceArrays
from replay.pool.token_indices import TokenIndexAllocator

pytestmark = pytest.mark.wheels

BACKENDS = {"host": HostArrays(), "device": DeviceArrays(torch.device("cpu"))}

#: 0.4.6 has no `need_sort`; 0.5.23 sets it on both sides of a disaggregated deployment.
ENGINES = [("0.4.6.post4", False), ("0.5.23", False), ("0.5.23", True)]

engines = pytest.mark.parametrize(
    ("version", "need_sort"), ENGINES, ids=["0.4.6.post4", "0.5.23", "0.5.23-need_sort"]
)
page_sizes = pytest.mark.parametrize("page_size", [1, 16, 64])

#: Fills a pool, frees it out of order, and takes it again, so that every list is walked through.
ROUND_TRIP = [
    ("alloc share", 0.9),
    ("free shuffled", 0),
    ("start", [130, 5_000, 64]),
    ("extend", [1, 63, 900]),
    ("decode", 3),
    ("free tail", 77),
    ("group", 0),
    ("free", 0),
    ("free again", 0),
    ("group", 0),
    ("alloc share", 1.0),
]

#: Walks along the lengths at which a list with pages staged beside it runs short.
BRINK = [
    ("start", [70, 70, 70, 70]),
    ("free", 0),
    ("leave", 3),
    ("decode", 3),
    ("decode", 2),
    ("free", 1),
    ("start at the brink", 0),
    ("start at the brink", 1),
    ("free", 0),
    ("leave", 0),
    ("decode", 1),
    ("free", 0),
    ("start at the brink", -1),
]


def compare(real_sglang, version, need_sort, page_size, pages, plan, seed):
    tokens = pages * page_size
    for arrays in BACKENDS.values():
        allocator = create_allocator(pages, page_size, arrays, sorts_pages=need_sort)
        sequence = Sequence(TokenIndexAllocator(allocator, arrays), arrays, seed)
        for intention, argument in plan:
            sequence.carry_out(intention, argument)
        config = {"tokens": tokens, "page_size": page_size, "need_sort": need_sort}
        answers = real_sglang(version).drive(config, sequence.operations)
        assert len(answers) == len(sequence.outcomes)
        for number, (ours, theirs) in enumerate(zip(sequence.outcomes, answers, strict=True)):
            assert ours == theirs, (
                f"operation {number} of {sequence.operations[: number + 1]}, pool of {tokens}"
            )


@engines
@page_sizes
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(pages=pool_pages, plan=intentions, seed=st.integers(0, 1_000))
@example(pages=30, plan=ROUND_TRIP, seed=0)
@example(pages=400, plan=ROUND_TRIP, seed=1)
@example(pages=400, plan=BRINK, seed=2)
def test_every_index_and_every_free_list_is_sglangs(
    real_sglang, version, need_sort, page_size, pages, plan, seed
):
    compare(real_sglang, version, need_sort, page_size, pages, plan, seed)


@engines
@page_sizes
@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(tokens=st.integers(100_000, 1_000_000), plan=intentions, seed=st.integers(0, 1_000))
@example(tokens=1_000_000, plan=ROUND_TRIP, seed=0)
def test_so_it_is_in_pools_of_up_to_a_million_tokens(
    real_sglang, version, need_sort, page_size, tokens, plan, seed
):
    compare(real_sglang, version, need_sort, page_size, tokens // page_size, plan, seed)


def test_the_comparison_sees_a_single_page_out_of_order(real_sglang):
    plan = [("start", [64, 64, 64]), ("free", 0), ("free", 0)]
    arrays = BACKENDS["host"]
    sequence = Sequence(TokenIndexAllocator(create_allocator(8, 64, arrays), arrays), arrays, 0)
    for intention, argument in plan:
        sequence.carry_out(intention, argument)
    config = {"tokens": 512, "page_size": 64, "need_sort": False}
    swapped = [*sequence.operations[:1], sequence.operations[2], sequence.operations[1]]
    answers = real_sglang("0.5.23").drive(config, swapped)
    assert answers[0] == sequence.outcomes[0]
    assert answers[-1]["available"] == sequence.outcomes[-1]["available"]
    assert answers[-1]["free"] != sequence.outcomes[-1]["free"]
    assert np.sum([length for _, length in answers[-1]["free"]]) == 7
