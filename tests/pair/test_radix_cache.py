"""The radix cache against a model that knows prefixes as plain tuples."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from engine_helpers import on_both_backends, page_ids
from hypothesis import given
from hypothesis import strategies as st

from replay.pair.cache import RadixCache
from replay.pool.pool import KvPool
from replay.recording.kinds import ShareKind
from replay.recording.owner_codes import CACHE

TOTAL_PAGES = 60
Prefix = tuple[int, ...]


@dataclass
class Unit:
    """One cached unit: its pages, when it was last matched, and who locks it."""

    pages: list[int]
    accessed: int
    locked_by: list[int] = field(default_factory=list)


class Model:
    """Units by the prefix that ends with them, and where the tree's nodes end."""

    def __init__(self) -> None:
        self.units: dict[Prefix, Unit] = {}
        self.ends: set[Prefix] = set()
        self.accesses = 0

    def match(self, keys: Prefix) -> Prefix:
        self.accesses += 1
        length = 0
        while length < len(keys) and keys[: length + 1] in self.units:
            length += 1
            self.units[keys[:length]].accessed = self.accesses
        if length:
            self.ends.add(keys[:length])
        return keys[:length]

    def insert(self, keys: Prefix, pages_of_unit: list[list[int]]) -> int:
        cached = len(self.match(keys))
        for length in range(cached + 1, len(keys) + 1):
            self.units[keys[:length]] = Unit(pages_of_unit[length - 1], self.accesses)
        if keys:
            self.ends.add(keys)
        return cached

    def lock(self, prefix: Prefix, ordinal: int) -> None:
        for each in prefixes(prefix):
            self.units[each].locked_by.append(ordinal)

    def unlock(self, prefix: Prefix, ordinal: int) -> None:
        for each in prefixes(prefix):
            self.units[each].locked_by.remove(ordinal)

    def pages_on(self, prefix: Prefix) -> list[int]:
        return [page for each in prefixes(prefix) for page in self.units[each].pages]

    def evict(self, pages: int) -> list[int]:
        """Pages freed, leaf by leaf, the least recently matched first."""
        freed: list[int] = []
        while len(freed) < pages:
            leaves = [
                end
                for end in self.ends
                if not self.units[end].locked_by
                and not any(other[: len(end)] == end for other in self.units if other != end)
            ]
            if not leaves:
                break
            oldest = min(leaves, key=lambda end: self.units[end].accessed)
            above = max(
                (len(end) for end in self.ends if end != oldest and oldest[: len(end)] == end),
                default=0,
            )
            freed += self.pages_on(oldest)[len(self.pages_on(oldest[:above])) :]
            for length in range(above + 1, len(oldest) + 1):
                del self.units[oldest[:length]]
            self.ends.remove(oldest)
        return freed

    def count(self, locked: bool) -> int:
        return sum(
            len(unit.pages) for unit in self.units.values() if bool(unit.locked_by) == locked
        )


def prefixes(keys: Prefix) -> list[Prefix]:
    return [keys[:length] for length in range(1, len(keys) + 1)]


@dataclass
class Job:
    """A prompt on its way through the prefill side: what it matched, and what it made itself."""

    ordinal: int
    keys: Prefix
    prefix: Prefix
    node: object
    row: list[int]
    is_cached: bool = False
    is_stalled: bool = False


class Pair:
    """The real cache and the model, driven together and compared after every step."""

    def __init__(self, arrays, unit_pages: int) -> None:
        self.arrays, self.unit_pages = arrays, unit_pages
        self.pool = KvPool("p", TOTAL_PAGES, 1, 1, arrays)
        self.cache = RadixCache(self.pool, unit_pages)
        self.model = Model()
        self.jobs: list[Job] = []
        self.started = 0

    def begin(self, keys: Prefix) -> None:
        """Match and lock a prompt's prefix and take pages for the rest, evicting for them."""
        node, prefix = self.cache.match(keys), self.model.match(keys)
        assert self.cache.prefix_units(node) == len(prefix)
        self.cache.lock(node)
        self.started += 1
        self.model.lock(prefix, self.started)
        need = (len(keys) - len(prefix)) * self.unit_pages
        if need > self.pool.available_pages + self.cache.evictable_pages:
            self.cache.unlock(node)
            self.model.unlock(prefix, self.started)
            return
        self.evict(need - self.pool.available_pages)
        own = self.pool.acquire(self.started, need).tolist() if need else []
        row = self.model.pages_on(prefix) + own
        self.jobs.append(Job(self.started, keys, prefix, node, row))

    def finish(self, job: Job) -> None:
        """Hand a computed prompt over to the cache and keep it locked."""
        size = self.unit_pages
        by_unit = [job.row[at : at + size] for at in range(0, len(job.row), size)]
        node = self.cache.insert(job.ordinal, job.keys, page_ids(self.arrays, job.row))
        cached = self.model.insert(job.keys, by_unit)
        duplicates = job.row[len(job.prefix) * size : cached * size]
        if duplicates:
            self.pool.release(job.ordinal, page_ids(self.arrays, duplicates))
        self.cache.lock(node)
        self.model.lock(job.keys, job.ordinal)
        self.cache.unlock(job.node)
        self.model.unlock(job.prefix, job.ordinal)
        job.node, job.prefix, job.is_cached = node, job.keys, True

    def release(self, job: Job) -> None:
        """Its transfer is acknowledged."""
        if job.is_stalled:
            self.cache.resume(job.ordinal, job.node)
        self.cache.unlock(job.node)
        self.model.unlock(job.prefix, job.ordinal)
        self.jobs.remove(job)

    def serve(self, keys: Prefix) -> None:
        """A prompt from its first match to its acknowledgement, with nothing in between."""
        self.begin(keys)
        if self.jobs and self.jobs[-1].ordinal == self.started:
            self.finish(self.jobs[-1])
            self.release(self.jobs[-1])

    def evict(self, pages: int) -> None:
        if pages <= 0:
            return
        before = set(self.pool.allocator.free_list().tolist())
        self.cache.evict(pages)
        freed = set(self.pool.allocator.free_list().tolist()) - before
        assert freed == set(self.model.evict(pages))

    def check(self) -> None:
        cache, model, pool = self.cache, self.model, self.pool
        assert cache.protected_pages == model.count(locked=True)
        assert cache.evictable_pages == cache.evictable_pages == model.count(locked=False)
        in_tree = cache.protected_pages + cache.evictable_pages
        assert pool.ledger.count_by_owner().get(CACHE, 0) == in_tree
        assert pool.available_pages + in_tree + sum(pool.held_pages.values()) == TOTAL_PAGES
        assert pool.ledger.violations().total == 0
        for job in self.jobs:
            assert cache.prefix_units(job.node) == len(job.prefix)
            pages = [page for node in cache.path(job.node) for page in node.pages.tolist()]
            assert pages == model.pages_on(job.prefix)
        self.check_stalls()

    def check_stalls(self) -> None:
        account = self.pool.account
        stalled = [job for job in self.jobs if job.is_stalled]
        held = {each for job in stalled for each in prefixes(job.prefix)}
        shares = [share for share in account.shares() if share.kind is ShareKind.CACHE_HELD]
        assert sum(share.pages for share in shares) == len(held) * self.unit_pages
        assert account.cache_held_pages == account.gap_pages == len(held) * self.unit_pages
        assert {share.ordinal for share in shares} <= {job.ordinal for job in stalled}


_keys = st.lists(st.integers(0, 2), max_size=7).map(tuple)
_steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["begin", "serve"]), _keys),
        st.tuples(st.sampled_from(["finish", "finish", "release", "stall"]), st.integers(0, 9)),
        st.tuples(st.just("match"), _keys),
        st.tuples(st.just("evict"), st.integers(1, 30)),
    ),
    min_size=5,
    max_size=60,
)


@on_both_backends
@pytest.mark.parametrize("unit_pages", [1, 4])
@given(steps=_steps)
def test_the_tree_agrees_with_plain_prefixes(arrays, unit_pages, steps):
    pair = Pair(arrays, unit_pages)
    for kind, what in steps:
        if kind == "begin":
            pair.begin(what)
        elif kind == "serve":
            pair.serve(what)
        elif kind == "match":
            assert pair.cache.prefix_units(pair.cache.match(what)) == len(pair.model.match(what))
        elif kind == "evict":
            pair.evict(what)
        else:
            ready = [job for job in pair.jobs if job.is_cached == (kind != "finish")]
            if kind == "stall":
                ready = [job for job in ready if not job.is_stalled]
            if not ready:
                continue
            job = ready[what % len(ready)]
            if kind == "finish":
                pair.finish(job)
            elif kind == "release":
                pair.release(job)
            else:
                pair.cache.stall(job.ordinal, job.node)
                job.is_stalled = True
        pair.check()


def filled(arrays, *prompts):
    """A pair whose cache holds these prompts, unlocked, cached in this order."""
    pair = Pair(arrays, 1)
    for keys in prompts:
        pair.serve(keys)
    return pair


@on_both_backends
def test_the_least_recently_matched_leaf_goes_first(arrays):
    pair = filled(arrays, (1, 2), (3, 4), (5, 6))
    pair.cache.match((1, 2))
    pair.cache.evict(1)
    lengths = [pair.cache.prefix_units(pair.cache.match(keys)) for keys in ((1, 2), (3, 4), (5, 6))]
    assert lengths == [2, 0, 2]


@on_both_backends
def test_locked_pages_survive_any_eviction(arrays):
    pair = filled(arrays, (1, 2, 3), (1, 2, 4))
    node = pair.cache.match((1, 2, 3))
    pair.cache.lock(node)
    pair.cache.evict(1_000)
    assert pair.cache.prefix_units(pair.cache.match((1, 2, 3))) == 3
    assert pair.cache.prefix_units(pair.cache.match((1, 2, 4))) == 2
    assert (pair.cache.protected_pages, pair.cache.evictable_pages) == (3, 0)
    pair.cache.unlock(node)
    pair.cache.evict(1_000)
    assert pair.pool.available_pages == TOTAL_PAGES


@on_both_backends
def test_a_split_leaves_locks_and_stalls_where_they_belong(arrays):
    pair = filled(arrays, (1, 2, 3, 4))
    node = pair.cache.match((1, 2, 3, 4))
    pair.cache.lock(node)
    pair.cache.stall(8, node)
    pair.cache.match((1, 2, 9))
    assert [len(each.keys) for each in pair.cache.path(node)] == [2, 2]
    assert pair.cache.prefix_units(node) == 4
    assert pair.pool.account.cache_held_pages == 4
    pair.cache.resume(8, node)
    assert pair.pool.account.gap_pages == 0
    pair.cache.unlock(node)
    assert (pair.cache.protected_pages, pair.cache.evictable_pages) == (0, 4)


@on_both_backends
def test_the_oldest_overdue_request_answers_for_a_shared_prefix(arrays):
    pair = filled(arrays, (1, 2))
    node = pair.cache.match((1, 2))
    for ordinal in (7, 8):
        pair.cache.lock(node)
        pair.cache.stall(ordinal, node)
    account = pair.pool.account
    assert account.share(7, ShareKind.CACHE_HELD) == 2
    assert account.share(8, ShareKind.CACHE_HELD) == 0
    pair.cache.resume(7, node)
    assert account.share(7, ShareKind.CACHE_HELD) == 0
    assert account.share(8, ShareKind.CACHE_HELD) == 2
    assert account.cache_held_pages == 2
