"""The ledger: who owns each page, and how often a page changed hands as it must not."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pool_helpers import ids, on_both_backends

from replay.pool.device_counter import DeviceCounter
from replay.pool.ledger import PageLedger
from replay.recording.owner_codes import CACHE, FIRST_OWNER, FREE

A, B = FIRST_OWNER, FIRST_OWNER + 1


@on_both_backends
def test_a_page_that_is_acquired_released_and_acquired_again_is_no_violation(arrays):
    ledger = PageLedger(10, arrays)
    pages = ids(arrays, [1, 2, 3])
    ledger.acquire(pages, A)
    assert ledger.count_by_owner() == {A: 3}
    assert ledger.count_held(ids(arrays, [2, 3, 4]), A) == 2
    ledger.release(pages, A)
    ledger.acquire(ids(arrays, [3, 4]), B)
    assert ledger.count_by_owner() == {B: 2}
    assert ledger.violations().total == 0


@on_both_backends
def test_acquiring_owned_pages_counts_each_of_them(arrays):
    ledger = PageLedger(10, arrays)
    ledger.acquire(ids(arrays, [1, 2, 3]), A)
    ledger.acquire(ids(arrays, [2, 3, 4]), B)
    ledger.acquire_many(ids(arrays, [4, 5]), arrays.as_owners(ids(arrays, [A, B])))
    violations = ledger.violations()
    assert (violations.acquired_while_owned, violations.released_by_another) == (3, 0)
    assert ledger.count_by_owner() == {A: 2, B: 3}


@on_both_backends
def test_releasing_what_another_holds_or_nobody_holds_counts_each_page(arrays):
    ledger = PageLedger(10, arrays)
    ledger.acquire(ids(arrays, [1, 2, 3]), A)
    ledger.release(ids(arrays, [1, 2]), B)
    ledger.release(ids(arrays, [1, 9]), A)
    violations = ledger.violations()
    assert (violations.acquired_while_owned, violations.released_by_another) == (0, 4)
    assert violations.total == 4
    assert ledger.violations().total == 4, "reading the counters must not change them"


@on_both_backends
def test_the_cache_takes_over_from_the_owner_only(arrays):
    ledger = PageLedger(10, arrays)
    ledger.acquire(ids(arrays, [1, 2]), A)
    ledger.hand_over(ids(arrays, [1, 2]), A, CACHE)
    assert ledger.count_by_owner() == {CACHE: 2}
    ledger.hand_over(ids(arrays, [1]), A, CACHE)
    assert ledger.violations().released_by_another == 1
    ledger.release(ids(arrays, [1, 2]), CACHE)
    assert ledger.count_by_owner() == {}
    assert ledger.violations().released_by_another == 1


@on_both_backends
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["acquire", "release"]),
            st.sets(st.integers(1, 12), min_size=1),
            st.integers(FIRST_OWNER, FIRST_OWNER + 3),
        ),
        max_size=30,
    )
)
def test_owners_and_violations_match_a_dict(arrays, steps):
    ledger = PageLedger(12, arrays)
    owner_of: dict[int, int] = {}
    acquired_while_owned = released_by_another = 0
    for kind, pages, owner in steps:
        for page in pages:
            held_by = owner_of.get(page, FREE)
            if kind == "acquire":
                acquired_while_owned += held_by != FREE
                owner_of[page] = owner
            else:
                released_by_another += held_by != owner
                owner_of[page] = FREE
        act = ledger.acquire if kind == "acquire" else ledger.release
        act(ids(arrays, sorted(pages)), owner)
    expected = Counter(owner for owner in owner_of.values() if owner != FREE)
    assert ledger.count_by_owner() == expected
    violations = ledger.violations()
    assert violations.acquired_while_owned == acquired_while_owned
    assert violations.released_by_another == released_by_another


@on_both_backends
@pytest.mark.parametrize("additions", [0, 1, 1_023, 1_024, 1_025, 2_500])
def test_the_device_counter_adds_up_however_often_it_is_fed(arrays, additions):
    counter = DeviceCounter(arrays)
    for number in range(additions):
        counter.add(arrays.count_nonzero(ids(arrays, [number % 3])))
    expected = int(np.count_nonzero(np.arange(additions) % 3))
    assert counter.read() == expected
    assert counter.read() == expected
