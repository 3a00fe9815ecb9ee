"""Random operation sequences, carried out on kvreplay's allocator while they are made concrete.

A sequence is drawn as intentions ("extend three requests by so much"); what they mean in token
indices depends on what was handed out before, so they are turned into SGLang calls one by one.
"""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from index_runs import to_runs

from replay.pool.arrays import Arrays
from replay.pool.token_indices import TokenIndexAllocator

_tokens = st.one_of(st.integers(1, 70), st.integers(71, 5_000))
_batch = st.lists(_tokens, min_size=1, max_size=6)
_pick = st.integers(0, 1_000)

intentions = st.lists(
    st.one_of(
        st.tuples(st.just("alloc"), _tokens),
        st.tuples(st.just("alloc share"), st.floats(0.3, 1.1)),
        st.tuples(st.just("leave"), st.integers(0, 8)),
        st.tuples(st.just("start at the brink"), st.integers(-1, 1)),
        st.tuples(st.just("start"), _batch),
        st.tuples(st.just("extend"), _batch),
        st.tuples(st.just("decode"), st.integers(1, 12)),
        st.tuples(st.just("free"), _pick),
        st.tuples(st.just("free"), _pick),
        st.tuples(st.just("free shuffled"), _pick),
        st.tuples(st.just("free tail"), _pick),
        st.tuples(st.just("free again"), _pick),
        st.tuples(st.just("free two"), _pick),
        st.tuples(st.just("group"), st.just(0)),
    ),
    min_size=1,
    max_size=25,
)

pool_pages = st.one_of(st.integers(1, 40), st.integers(41, 3_000))


@dataclass
class Sequence:
    """The SGLang calls of a sequence, and what kvreplay's allocator made of each."""

    allocator: TokenIndexAllocator
    arrays: Arrays
    seed: int
    operations: list = field(default_factory=list)
    outcomes: list = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page_size = self.allocator.pages.page_size
        self._requests: list = []
        self._freed: list = []
        self._in_group = False
        self._random = np.random.default_rng(self.seed)

    def carry_out(self, intention: str, argument) -> None:
        """Turn one intention into calls."""
        if intention == "alloc":
            self._start(self._alloc(argument))
        elif intention == "alloc share":
            self._start(self._alloc(int(argument * self.allocator.available_tokens)))
        elif intention == "leave":
            # So few pages on the list that the next batch may or may not have to merge.
            self._start(self._alloc(max(0, self._listed() - argument) * self.page_size))
        elif intention == "start at the brink":
            # A request whose bound on new pages is as many as are listed, one more, or one less.
            tokens = (self._listed() + argument - 2) * self.page_size
            # Pages freed twice are listed twice; Triton holds no more than a million indices.
            tokens = min(tokens, 2**20 - self.page_size)
            self._extend([-1], [max(1, tokens + int(self._random.integers(self.page_size)))])
        elif intention == "start":
            self._extend(list(range(-1, -1 - len(argument), -1)), argument)
        elif intention == "extend":
            self._extend(range(min(len(argument), len(self._requests))), argument)
        elif intention == "decode":
            self._decode(min(argument, len(self._requests)))
        elif intention == "group":
            self._in_group = not self._in_group
            self._call("free_group_begin" if self._in_group else "free_group_end")
        elif intention == "free again":
            if self._freed:
                self._free(self._freed[argument % len(self._freed)])
        elif self._requests:
            self._free_request(intention, argument)

    def _free_request(self, intention: str, argument: int) -> None:
        at = argument % len(self._requests)
        row = self._requests[at]
        if intention == "free tail":
            self._requests[at] = row[: argument % (len(row) + 1)]
            row = row[argument % (len(row) + 1) :]
            if not len(self._requests[at]):
                del self._requests[at]
        else:
            del self._requests[at]
        if intention == "free shuffled":
            row = self._shuffled(row)
        if intention == "free two" and self._requests:
            # Some of another request's tokens, which stay that request's: freed once too often.
            other = self._requests[argument % len(self._requests)]
            row = np.concatenate((row, other[: argument % (len(other) + 1)], row[:3]))
        self._free(row)

    def _shuffled(self, row):
        """In random order; a long row in shuffled pieces, so that it is short to spell out."""
        pieces = np.array_split(row, min(len(row), 1_000))
        return np.concatenate([pieces[at] for at in self._random.permutation(len(pieces))])

    def _listed(self) -> int:
        return self.allocator.pages.listed_pages

    def _alloc(self, tokens: int):
        return self._call("alloc", tokens)

    def _start(self, indices) -> None:
        if indices is not None and len(indices):
            self._requests.append(indices)

    def _extend(self, which, lengths: list[int]) -> None:
        """Prefill of a batch: requests by number, a negative number is a new one."""
        if not lengths or not len(which):
            return
        lengths = lengths[: len(which)]
        if self.page_size == 1:
            indices = self._alloc(sum(lengths))
        else:
            rows = [self._requests[at] if at >= 0 else np.empty(0, np.int64) for at in which]
            prefix = [len(row) for row in rows]
            seq = [len(row) + length for row, length in zip(rows, lengths, strict=True)]
            indices = self._call("alloc_extend", prefix, seq, [_last(row) for row in rows])
        self._append(which, lengths, indices)

    def _decode(self, count: int) -> None:
        if count == 0:
            return
        if self.page_size == 1:
            indices = self._alloc(count)
        else:
            rows = self._requests[:count]
            seq = [len(row) + 1 for row in rows]
            indices = self._call("alloc_decode", seq, [_last(row) for row in rows])
        self._append(range(count), [1] * count, indices)

    def _append(self, which, lengths: list[int], indices) -> None:
        if indices is None:
            return
        for at, part in zip(which, np.split(indices, np.cumsum(lengths)[:-1]), strict=True):
            if at < 0:
                self._requests.append(part)
            else:
                self._requests[at] = np.concatenate((self._requests[at], part))

    def _free(self, indices) -> None:
        self._freed.append(indices)
        self._call("free", indices)

    def _call(self, name: str, *arguments):
        allocator, upload = self.allocator, self.arrays.upload
        spelled = [to_runs(each) if name == "free" else each for each in arguments]
        self.operations.append([name, *spelled])
        if name == "free":
            arguments = [upload(arguments[0])]
        elif name.startswith("alloc_"):
            *lengths, last_loc = (np.array(each, dtype=np.int64) for each in arguments)
            arguments = [*lengths, upload(last_loc)]
        returned = getattr(allocator, name)(*arguments)
        returned = None if returned is None else np.asarray(returned)
        listed = allocator.pages.listed_pages
        free_list = np.asarray(allocator.pages.free_list())
        self.outcomes.append(
            {
                "returned": None if returned is None else to_runs(returned),
                "free": to_runs(free_list[:listed]),
                "staged": to_runs(free_list[listed:]),
                "available": allocator.available_tokens,
            }
        )
        return returned


def _last(row) -> int:
    return int(row[-1]) if len(row) else -1
