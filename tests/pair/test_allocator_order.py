"""Every pool of a deployment hands pages out in the order of its profile's engine."""

import pytest
from engine_helpers import BACKENDS, HARDENED, POST4, SGLANG_0_5

from replay.pair.clock import Clock
from replay.pair.deployment import build_deployment
from replay.profiles.catalogue import find_profile
from replay.profiles.overrides import override


@pytest.mark.parametrize(
    ("profile_name", "order"),
    [(POST4, [2, 5, 6, 7, 8]), (SGLANG_0_5, [5, 6, 7, 8, 2]), (HARDENED, [2, 5, 6, 7, 8])],
)
def test_a_freed_page_goes_where_the_engine_puts_it(profile_name, order):
    tokens = {"total_tokens": "512", "prefill_total_tokens": "512", "page_size": "64"}
    profile = override(find_profile(profile_name), tokens)
    deployment = build_deployment(
        profile,
        block_size=None,
        clock=Clock(),
        link=None,
        watcher=None,
        arrays=BACKENDS["host"],
        every_step=False,
    )
    ranks = list(deployment.ranks())
    assert len(ranks) == profile.prefill_dp + profile.decode_dp
    for rank in ranks:
        pages = rank.pool.extend(7, 0, 256)
        rank.pool.release(7, pages[1:2])
        assert rank.pool.allocator.free_list().tolist() == order
