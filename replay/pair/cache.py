"""Prefix caches of the prefill side: a radix tree over prompt blocks, or none (chunk cache).

A node is a run of cache units. A cache unit is the smallest number of tokens that is a multiple of
both the trace's block size and the page size. The locks of a node decide whether its pages can be
freed:

                     lock (a request uses it)
       evictable  --------------------------->  protected
    (oldest leaf   <---------------------------  (counted by the engine's check)
     is evicted)    unlock (its transfer is acknowledged)

While a lock's owner waits for an overdue acknowledgement, the node is protected unnecessarily: the
audit counts it as held in the cache (`stall`, `resume`).

Source of the behaviour: sglang 0.4.6.post4, `mem_cache/radix_cache.py` (match with node splits,
`inc_lock_ref` and `dec_lock_ref` counting only the step between 0 and 1, eviction of least recently
used leaves whole) and `mem_cache/chunk_cache.py`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from replay.pool.arrays import Array
from replay.pool.pool import KvPool


class RadixNode:
    """A run of cache units below a parent; `pages` is int64 [len(keys) * unit_pages]."""

    __slots__ = (
        "children",
        "is_queued",
        "keys",
        "last_access",
        "locks",
        "pages",
        "parent",
        "stalled_by",
    )

    def __init__(self, parent: RadixNode | None, keys: Sequence[int], pages: Array | None) -> None:
        self.parent = parent
        self.keys = keys
        self.pages = pages
        self.children: dict[int, RadixNode] = {}
        self.locks = 0
        self.last_access = 0
        self.is_queued = False
        #: Requests whose overdue transfer locks this node, oldest first; the first one is its owner.
        self.stalled_by: list[int] = []


class RadixCache:
    """Radix tree of shared prompt prefixes over one pool, with locks and LRU eviction."""

    def __init__(self, pool: KvPool, unit_pages: int) -> None:
        self.pool = pool
        self.unit_pages = unit_pages
        self.evictable_pages = 0
        self.protected_pages = 0
        self._root = RadixNode(None, (), None)
        self._root.locks = 1
        self._accesses = 0
        self._queue: list[tuple[int, int, RadixNode]] = []
        self._queued = 0

    def match(self, keys: Sequence[int]) -> RadixNode:
        """Return the node at which the longest cached prefix of `keys` ends; the root if there is none."""
        self._accesses += 1
        node, at = self._root, 0
        node.last_access = self._accesses
        while at < len(keys):
            child = node.children.get(keys[at])
            if child is None:
                break
            common = _common_length(child.keys, keys, at)
            if common < len(child.keys):
                child = self._split(child, common)
            child.last_access = self._accesses
            node, at = child, at + common
        return node

    def path(self, node: RadixNode) -> list[RadixNode]:
        """Return the nodes from below the root down to `node`."""
        return list(self._upwards(node))[::-1]

    def prefix_units(self, node: RadixNode) -> int:
        """Return the number of cache units from the root to the end of `node`."""
        return sum(len(each.keys) for each in self._upwards(node))

    def insert(self, ordinal: int, keys: Sequence[int], row_pages: Array) -> RadixNode:
        """Transfer a request's units to the tree and return the node at which they end.

        `row_pages` is the request's row, int64 [len(keys) * unit_pages]. Units that another request
        has cached in the meantime stay in the tree; this request's copies are released, and its row
        must be read again from the tree (`path`).
        """
        node = self.match(keys)
        cached = self.prefix_units(node)
        if cached == len(keys):
            return node
        child = RadixNode(
            node, keys[cached:], self.pool.arrays.copy(row_pages[cached * self.unit_pages :])
        )
        assert child.pages is not None
        child.last_access = self._accesses
        node.children[keys[cached]] = child
        self.evictable_pages += len(child.pages)
        self.pool.give_to_cache(ordinal, child.pages)
        self._queue_if_evictable(child)
        return child

    def lock(self, node: RadixNode) -> None:
        """Protect the path to `node` from eviction."""
        for each in self._upwards(node):
            if each.locks == 0:
                self.evictable_pages -= _size(each)
                self.protected_pages += _size(each)
            each.locks += 1

    def unlock(self, node: RadixNode) -> None:
        """Remove one lock. A surplus unlock drifts below zero, as in the real counter."""
        for each in self._upwards(node):
            if each.locks == 1:
                self.evictable_pages += _size(each)
                self.protected_pages -= _size(each)
            each.locks -= 1
            self._queue_if_evictable(each)

    def nodes(self, locked_only: bool = False) -> Iterator[RadixNode]:
        """Return all nodes, or those that are locked or were locked by an overdue transfer.

        A locked node is never below an unlocked one.
        """
        below = list(self._root.children.values())
        while below:
            node = below.pop()
            if not locked_only or node.locks > 0 or node.stalled_by:
                yield node
                below.extend(node.children.values())

    def stall(self, ordinal: int, node: RadixNode) -> None:
        """Record that the lock of this request is held by an overdue transfer."""
        for each in self._upwards(node):
            if not each.stalled_by:
                self.pool.account.hold_in_cache(ordinal, _size(each))
            each.stalled_by.append(ordinal)

    def resume(self, ordinal: int, node: RadixNode) -> None:
        """Record that the overdue transfer was acknowledged after all."""
        for each in self._upwards(node):
            was_first = each.stalled_by[0] == ordinal
            each.stalled_by.remove(ordinal)
            if was_first:
                self.pool.account.hold_in_cache(ordinal, -_size(each))
                if each.stalled_by:
                    self.pool.account.hold_in_cache(each.stalled_by[0], _size(each))

    def evict(self, pages: int) -> None:
        """Free at least `pages` pages of the least recently used leaves, or as many as possible."""
        freed = 0
        while freed < pages and self._queue:
            last_access, _, node = heapq.heappop(self._queue)
            node.is_queued = False
            if last_access != node.last_access:
                self._queue_if_evictable(node)
                continue
            if node.children or node.locks > 0 or node.parent is None or node.pages is None:
                continue
            freed += len(node.pages)
            self._remove(node)

    def _remove(self, node: RadixNode) -> None:
        parent = node.parent
        assert parent is not None
        assert node.pages is not None
        del parent.children[node.keys[0]]
        self.evictable_pages -= len(node.pages)
        self.pool.release_from_cache(node.pages)
        node.parent, node.pages = None, None
        self._queue_if_evictable(parent)

    def _queue_if_evictable(self, node: RadixNode) -> None:
        if node.is_queued or node.children or node.locks > 0 or node.parent is None:
            return
        node.is_queued = True
        self._queued += 1
        heapq.heappush(self._queue, (node.last_access, self._queued, node))

    def _split(self, child: RadixNode, at: int) -> RadixNode:
        """Split a node in two. The node itself becomes the lower part, so references to it stay valid."""
        parent, pages = child.parent, child.pages
        assert parent is not None
        assert pages is not None
        upper = RadixNode(parent, child.keys[:at], pages[: at * self.unit_pages])
        upper.locks = child.locks
        upper.last_access = child.last_access
        upper.stalled_by = list(child.stalled_by)
        upper.children[child.keys[at]] = child
        parent.children[child.keys[0]] = upper
        child.keys = child.keys[at:]
        child.pages = pages[at * self.unit_pages :]
        child.parent = upper
        return upper

    def _upwards(self, node: RadixNode) -> Iterator[RadixNode]:
        each: RadixNode | None = node
        while each is not None and each is not self._root:
            yield each
            each = each.parent


class ChunkCache:
    """No prefix cache: every prompt page belongs to its request until it is released."""

    def __init__(self) -> None:
        self.evictable_pages = 0
        self.protected_pages = 0

    def evict(self, pages: int) -> None:
        """Nothing is cached, so nothing can be freed."""


def _size(node: RadixNode) -> int:
    return 0 if node.pages is None else len(node.pages)


def _common_length(ours: Sequence[int], theirs: Sequence[int], start: int) -> int:
    if ours == theirs[start : start + len(ours)]:
        return len(ours)
    length = 0
    for mine, other in zip(ours, theirs[start:], strict=False):
        if mine != other:
            break
        length += 1
    return length
