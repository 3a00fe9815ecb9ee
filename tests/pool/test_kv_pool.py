"""The pool as a whole conserves pages, and its account adds up, whatever the schedulers do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pool_helpers import ids, on_both_backends

from replay.errors import InvariantError
from replay.pool.account import PoolAccount
from replay.pool.pool import KvPool
from replay.recording.kinds import ShareKind
from replay.recording.owner_codes import CACHE, FIRST_OWNER

TOTAL_PAGES = 60

_operations = st.lists(
    st.tuples(
        st.sampled_from(["acquire", "acquire many", "release", "give to cache", "evict"]),
        st.integers(0, 3),
        st.integers(1, 25),
    ),
    max_size=50,
)


@on_both_backends
@pytest.mark.parametrize("page_size", [1, 64])
@given(operations=_operations)
def test_pages_are_never_made_or_lost(arrays, page_size, operations):
    pool = KvPool("p", TOTAL_PAGES * page_size, page_size, 1, arrays)
    pages_of: dict[int, list[int]] = {ordinal: [] for ordinal in range(4)}
    cached: list[int] = []
    for kind, ordinal, count in operations:
        mine = pages_of[ordinal]
        if kind == "acquire":
            taken = pool.acquire(ordinal, count)
            if taken is not None:
                mine += taken.tolist()
        elif kind == "acquire many":
            other = (ordinal + 1) % 4
            counts = [count // 2, count - count // 2]
            if count > pool.available_pages:
                continue
            owners = [ordinal] * counts[0] + [other] * counts[1]
            taken = pool.acquire_many(
                [ordinal, other], counts, ids(arrays, [owner + FIRST_OWNER for owner in owners])
            ).tolist()
            for owner, page in zip(owners, taken, strict=True):
                pages_of[owner].append(page)
        elif kind == "release":
            pool.release(ordinal, ids(arrays, mine[:count]))
            pages_of[ordinal] = mine[count:]
        elif kind == "give to cache":
            pool.give_to_cache(ordinal, ids(arrays, mine[:count]))
            cached += mine[:count]
            pages_of[ordinal] = mine[count:]
        else:
            pool.release_from_cache(ids(arrays, cached[:count]))
            cached = cached[count:]
        held = {ordinal: len(pages) for ordinal, pages in pages_of.items() if pages}
        assert pool.held_pages == held
        assert pool.available_pages + sum(held.values()) + len(cached) == TOTAL_PAGES
        everywhere = [*cached, *pool.allocator.free_list().tolist()]
        everywhere += [page for pages in pages_of.values() for page in pages]
        assert sorted(everywhere) == list(range(1, TOTAL_PAGES + 1))
        by_owner = {ordinal + FIRST_OWNER: pages for ordinal, pages in held.items()}
        assert pool.ledger.count_by_owner() == by_owner | ({CACHE: len(cached)} if cached else {})
        assert pool.ledger.violations().total == 0
        assert pool.account.gap_pages == 0


@on_both_backends
def test_a_second_release_is_an_over_free_of_that_request(arrays):
    pool = KvPool("p", 640, 64, 1, arrays)
    pages = pool.acquire(3, 4)
    pool.release(3, pages)
    pool.release(3, pages)
    assert pool.available_pages == 14
    assert [(s.ordinal, s.kind, s.pages) for s in pool.account.shares()] == [
        (3, ShareKind.OVER_FREED, -4)
    ]
    assert pool.account.gap_pages == -4 == 10 - pool.available_pages
    assert pool.ledger.violations().released_by_another == 4


@on_both_backends
def test_releasing_more_than_held_counts_only_what_was_too_much(arrays):
    pool = KvPool("p", 10, 1, 1, arrays)
    pages = pool.acquire(1, 3)
    pool.release(1, ids(arrays, [*pages.tolist(), 9]))
    assert pool.account.gap_pages == -1
    assert pool.held_pages == {}


@on_both_backends
def test_a_batch_that_does_not_fit_breaks_the_replay_and_says_both_sides(arrays):
    pool = KvPool("decode0/dp3", 4, 1, 1, arrays)
    pool.acquire(0, 2)
    with pytest.raises(InvariantError, match=r"decode0/dp3: .* needs 3 pages, free are 2"):
        pool.acquire_many([1], [3], ids(arrays, [FIRST_OWNER + 1] * 3))


@pytest.mark.parametrize(
    ("tokens", "pages"), [(0, 0), (1, 1), (63, 1), (64, 1), (65, 2), (128, 2), (129, 3)]
)
def test_a_started_page_is_a_page(tokens, pages):
    from pool_helpers import BACKENDS

    assert KvPool("p", 6_400, 64, 1, BACKENDS["host"]).pages_for(tokens) == pages


_account_steps = st.lists(
    st.tuples(
        st.sampled_from(["stall", "resume", "depart", "over-free", "hold", "let go"]),
        st.integers(0, 4),
        st.integers(0, 9),
    ),
    max_size=40,
)


@given(steps=_account_steps)
def test_the_shares_add_up_to_the_gap(steps):
    account = PoolAccount()
    account.transfer_pages = 1_000
    held_in_cache = dict.fromkeys(range(5), 0)
    stalled: dict[int, int] = {}
    departed = over_freed = 0
    for kind, ordinal, pages in steps:
        if kind == "stall" and ordinal not in stalled:
            account.stall(ordinal, pages)
            stalled[ordinal] = pages
        elif kind == "resume" and ordinal in stalled:
            account.resume(ordinal)
            del stalled[ordinal]
        elif kind == "depart":
            account.depart(ordinal, pages)
            departed += pages
        elif kind == "over-free":
            account.over_free(ordinal, pages)
            over_freed += pages
        elif kind == "hold":
            account.hold_in_cache(ordinal, pages)
            held_in_cache[ordinal] += pages
        elif kind == "let go":
            account.hold_in_cache(ordinal, -held_in_cache[ordinal])
            held_in_cache[ordinal] = 0
        shares = list(account.shares())
        cache_held = sum(held_in_cache.values())
        assert sum(share.pages for share in shares) == account.gap_pages
        assert account.gap_pages == sum(stalled.values()) + departed - over_freed + cache_held
        assert account.transfer_pages == 1_000 - sum(stalled.values())
        assert account.cache_held_pages == cache_held
        assert all(share.pages != 0 for share in shares)
        assert all(account.is_stalled(ordinal) == (ordinal in stalled) for ordinal in range(5))
        for share in shares:
            assert account.has_shares(share.ordinal)


def test_a_change_is_remembered_until_an_audit_has_seen_it():
    account = PoolAccount()
    assert not account.has_shares(1)
    account.stall(1, 5)
    assert account.has_changed(1)
    account.changed.clear()
    assert (account.has_shares(1), account.has_changed(1)) == (True, False)
    assert not account.has_shares(2)
    account.resume(1)
    assert (account.has_shares(1), account.has_changed(1)) == (False, True)
    account.changed.clear()
    assert not account.has_changed(1)
