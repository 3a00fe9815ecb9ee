"""Generate traces of any size that resemble a real one (`kvreplay trace synth --like`).

Every request is based on a row of the source. All rows are used in roughly their order, repeatedly:
a longer trace repeats the source with other random choices, a shorter one resembles its beginning.
The model covers

- arrivals: blocks of the source's gaps, taken from nearby places, so that the rate over time, bursts
  and ties are preserved (`traces.likeness.draws`);
- lengths: input and output jointly, each moved slightly in rank;
- prefix reuse: a row gives the part of its prompt that an infinite cache would have found, and how many
  requests ago that part was last used. The new prompt begins with exactly as many blocks of a prompt
  generated about that long ago, and continues with fresh blocks. A row that repeats a complete prompt
  gives a request that does the same;
- sessions, if the source has them: the number of requests with a session, and of those that continue
  one; these continue the last prompt of a session of about the right age and size;
- aborts (share, delay, correlation with lengths), priorities, the block size.

It does not cover relations between consecutive requests beyond the gap and the reused prompt, the
number of prompts that share one prefix, and contexts older than the prompts kept in memory
(`traces.likeness.prompts`).

This does not anonymize. The new trace contains no id and no hash of the source, but it contains
sequences of its arrival gaps, in order and exact to the microsecond. Lengths and abort delays are
within a fraction of a percent of those of the source, the longest ones exact. Those of one request
stay together, with its priority, at about its time. From a short source nearly all of that can be
recovered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.files.place import Place
from traces.hashing import GOLDEN, mix_words
from traces.likeness.draws import CHUNK_REQUESTS, Draws, DrawStream
from traces.likeness.fitting import NO_ABORT, NO_PRIORITY, TraceModel
from traces.likeness.options import LikenessOptions
from traces.likeness.prompts import NO_SESSION, PromptReservoir
from traces.writer import TraceWriter

__all__ = ["LikenessOptions", "synthesize_like", "write_trace_like"]

#: Hashes made at once (8 MiB), unless one prompt alone has more.
PIECE_HASHES = 2**20

_NO_CONTEXT = -1

_Integers = npt.NDArray[np.int64]
_Hashes = npt.NDArray[np.uint64]


def write_trace_like(
    model: TraceModel,
    options: LikenessOptions,
    path: str | Path | Place,
    on_progress: Callable[[int], None] | None = None,
    *,
    force: bool = True,
) -> int:
    """Write a new trace to `path`, atomically, and return its number of requests.

    Args:
        model: the result of `traces.likeness.fitting.fit_trace`.
        options: size, seed and rate.
        path: Parquet file to create or replace, or its place.
        on_progress: called from time to time with the number of requests written.
        force: replace a trace that was made from something else, too.

    Raises:
        TraceError: the file cannot be written, the rate is impossible, or the trace would last too
            long.
    """
    count = 0
    source = options.describe(model.name)
    with TraceWriter(path, source=source, block_size=model.block_size, force=force) as writer:
        for columns in synthesize_like(model, options):
            writer.write_columns(columns)
            count += len(columns["request_id"])
            if on_progress is not None:
                on_progress(count)
    return count


def synthesize_like(model: TraceModel, options: LikenessOptions) -> Iterator[dict[str, Any]]:
    """Yield the new trace as batches of columns for `TraceWriter.write_columns`.

    Raises:
        TraceError: the rate is impossible, or the trace would last too long.
    """
    stream = DrawStream(model, options)
    maker = _RequestMaker(model, options.seed)
    left = options.requests
    while left:
        draws = stream.next_chunk().part(0, min(left, CHUNK_REQUESTS))
        for start, stop in _pieces(draws.input_tokens, model.block_size):
            yield maker.make(draws.part(start, stop))
        left -= draws.rows.size


def _pieces(input_tokens: _Integers, block_size: int | None) -> Iterator[tuple[int, int]]:
    """Cut a chunk into pieces of about `PIECE_HASHES` hashes."""
    hashes = np.cumsum(input_tokens // (block_size or input_tokens.size * 2**31) + 1)
    cuts = np.flatnonzero(np.diff(hashes // PIECE_HASHES)) + 1
    bounds = [0, *cuts.tolist(), input_tokens.size]
    return pairwise(bounds)


class _RequestMaker:
    """Turns draws into requests: names them and composes their prompts from earlier ones."""

    def __init__(self, model: TraceModel, seed: int) -> None:
        self._block_size = model.block_size
        # Every name and hash depends on the source's digest, so none of them equals the source's.
        digest = hashlib.blake2b(f"{model.source_sha256} {seed}".encode(), digest_size=16).digest()
        self._tag = digest[:6].hex()
        self._hash_key = np.uint64(int.from_bytes(digest[8:]))
        self._reservoir = PromptReservoir()
        self._made = 0
        self._session_count = 0

    def make(self, draws: Draws) -> dict[str, Any]:
        """Make the requests of a piece, as columns."""
        rows = draws.rows
        input_tokens, contexts, taken, sessions = self._choose_contexts(draws)
        numbers = np.arange(self._made, self._made + rows.size)
        columns = {
            "request_id": self._names("r", numbers),
            "arrival_us": draws.arrival_us,
            "input_tokens": np.array(input_tokens),
            "output_tokens": draws.output_tokens,
            "session_id": self._names("s", np.array(sessions)),
            "cancel_us": pa.array(
                draws.arrival_us + draws.abort_after_us, mask=draws.abort_after_us == NO_ABORT
            ),
            "priority": pa.array(rows["priority"], mask=rows["priority"] == NO_PRIORITY),
        }
        counts = -(-columns["input_tokens"] // (self._block_size or 1)) * rows["has_hashes"]
        hashes, bounds = self._weave(numbers, counts, contexts, taken)
        if self._block_size is not None:
            columns["block_hashes"] = pa.ListArray.from_arrays(
                pa.array(bounds, pa.int32()), pa.array(hashes), mask=pa.array(~rows["has_hashes"])
            )
        self._reservoir.trim()
        self._made += rows.size
        return columns

    def _choose_contexts(self, draws: Draws) -> tuple[list[int], list[int], list[int], list[int]]:
        """Choose, for every request, the earlier prompt that it continues.

        Returns:
            Four lists with an element per request: prompt length, number of the earlier request
            (or `_NO_CONTEXT`), number of hashes to copy from it, and session (or `NO_SESSION`).
        """
        reservoir, size = self._reservoir, self._block_size or 1
        lengths: list[int] = draws.input_tokens.tolist()
        contexts, taken, sessions = [], [], []
        columns = zip(
            lengths,
            draws.blocks_taken.tolist(),
            *(draws.rows[name].tolist() for name in _CONTEXT_COLUMNS),
            strict=True,
        )
        for place, row in enumerate(columns):
            tokens, blocks, has_hashes, has_session, session_age, is_repeat, age = row
            context = None
            if session_age:
                context = reservoir.find_session(session_age, blocks)
            elif blocks or is_repeat:
                context = reservoir.find(max(age, 1), blocks)
            if context is None:
                blocks = 0
            elif is_repeat and not session_age:
                tokens = lengths[place] = reservoir.input_tokens(context)
                blocks = -(-tokens // size)
            else:
                blocks = min(blocks, reservoir.full_blocks(context))
            session = NO_SESSION
            if context is not None:
                reservoir.take_up(context, blocks, in_session=bool(session_age))
            if session_age and context is not None:
                session = reservoir.session(context)
            elif has_session:
                session = self._session_count
                self._session_count += 1
            full_blocks = tokens // size if has_hashes else 0
            reservoir.add(tokens, full_blocks, session, has_hashes)
            contexts.append(_NO_CONTEXT if context is None else context)
            taken.append(blocks)
            sessions.append(session)
        return lengths, contexts, taken, sessions

    def _weave(
        self, numbers: _Integers, counts: _Integers, contexts: list[int], taken: list[int]
    ) -> tuple[_Hashes, _Integers]:
        """Return the hashes of the requests in one array, and the bounds of each.

        A fresh hash identifies its request and its position in the prompt, and thereby everything
        before it, because a request continues only one context.
        """
        bounds = np.concatenate(([0], np.cumsum(counts)))
        places = np.arange(bounds[-1]) - np.repeat(bounds[:-1], counts) + 1
        keys = mix_words(numbers.astype(np.uint64) * GOLDEN + self._hash_key)
        hashes = mix_words(np.repeat(keys, counts) + places.astype(np.uint64) * GOLDEN)
        starts = bounds.tolist()
        for place, (context, blocks) in enumerate(zip(contexts, taken, strict=True)):
            start = starts[place]
            if blocks:
                hashes[start : start + blocks] = self._reservoir.hashes(context)[:blocks]
            self._reservoir.keep_hashes(hashes[start : starts[place + 1]])
        return hashes, bounds

    def _names(self, kind: str, numbers: _Integers) -> Any:
        """Return `<tag>-<kind><number>` for every number, null for `NO_SESSION`."""
        texts = pa.array(numbers, mask=numbers == NO_SESSION).cast(pa.string())
        return pc.binary_join_element_wise(f"{self._tag}-{kind}", texts, "")


_CONTEXT_COLUMNS = ("has_hashes", "has_session", "session_age", "is_repeat", "context_age")
