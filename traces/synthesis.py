"""Synthetic traces of any size from one seed: tenants, multi-turn sessions, shared prefixes, aborts.

`numpy.random.Generator` (PCG64, one stream per purpose) draws the numbers and a Faker instance the
names, so the same options give the same bytes with the same versions of numpy and Faker, and
changing the abort rate, for example, does not change any arrival. Everything streams: memory grows
with the tenants and their open sessions, not with the requests.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from traces.hashing import chain_blocks, child_key
from traces.schema import TraceRequest
from traces.synthesis_options import SynthesisOptions

if TYPE_CHECKING:
    from faker import Faker

    from traces.files.place import Place

__all__ = ["SynthesisOptions", "synthesize", "write_synthetic_trace"]

#: Requests whose numbers are drawn at once. Fixed, so that a longer trace starts like a shorter one.
CHUNK_REQUESTS = 4096

_PROGRESS_REQUESTS = 1024


def synthesize(options: SynthesisOptions) -> Iterator[TraceRequest]:
    """Yield `options.requests` requests sorted by arrival, with block hashes and identities.

    Request ids read `<tenant>/<user>-<session number>/<turn>`.
    """
    streams = _Streams(options.seed)
    tenants = _make_tenants(options, streams)
    arrivals_us = _arrival_chunks(options, streams)
    left = options.requests
    while left:
        draws = _draw_chunk(options, streams, next(arrivals_us))
        rows = min(left, CHUNK_REQUESTS)
        for row in range(rows):
            tenant = tenants[draws.tenant[row]]
            yield _next_request(tenant, options, streams.faker, draws, row)
        left -= rows


def write_synthetic_trace(
    options: SynthesisOptions,
    path: str | Path | Place,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Write a synthetic trace to `path` and return its number of requests.

    Args:
        options: the options of the trace.
        path: Parquet file to create or replace, or its place.
        on_progress: called from time to time with the number of requests written.

    Raises:
        OutputError: the file cannot be written.
    """
    from traces.writer import TraceWriter

    count = 0
    with TraceWriter(path, source=options.describe(), block_size=options.block_size) as writer:
        for count, request in enumerate(synthesize(options), start=1):
            writer.write(request)
            if on_progress is not None and count % _PROGRESS_REQUESTS == 0:
                on_progress(count)
    if on_progress is not None:
        on_progress(count)
    return count


class _Streams:
    """One independent random stream per purpose, all from one seed."""

    def __init__(self, seed: int) -> None:
        from faker import Faker

        children = np.random.SeedSequence(seed).spawn(9)
        generators = [np.random.Generator(np.random.PCG64(child)) for child in children]
        self.gaps, self.bursts, self.tenant, self.system = generators[:4]
        self.turns, self.prompt, self.output, self.aborts, keys = generators[4:]
        #: Keys every block hash, so that two seeds share none.
        self.hash_key = int(keys.integers(0, 2**64, dtype=np.uint64))
        self.faker: Faker = Faker("en_US", use_weighting=False)
        self.faker.seed_instance(int(keys.integers(0, 2**63)))


@dataclass(slots=True)
class _Session:
    identity: str
    #: Identifies the session's text: block k differs between sessions, not between turns of a session.
    key: int
    turn: int
    last_arrival_us: int
    #: Tokens of the last prompt and its answer, which are the history of the next turn.
    context_tokens: int
    #: Running sum over the block contents so far (the chain), and the hashes of the full blocks.
    chain: int
    full_hashes: npt.NDArray[np.uint64]


@dataclass(slots=True)
class _Tenant:
    slug: str
    key: int
    system_tokens: int
    chain: int
    system_hashes: npt.NDArray[np.uint64]
    session_count: int = 0
    #: Sessions that can continue, longest waiting first.
    open_sessions: deque[_Session] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class _Draws:
    """The numbers of one chunk, as lists of `CHUNK_REQUESTS` Python numbers."""

    arrival_us: list[int]
    tenant: list[int]
    goes_on: list[bool]
    prompt_tokens: list[int]
    output_tokens: list[int]
    cancel_us: list[int | None]


def _draw_chunk(
    options: SynthesisOptions, streams: _Streams, arrival_us: npt.NDArray[np.int64]
) -> _Draws:
    size = CHUNK_REQUESTS
    weights = np.arange(1, options.tenants + 1, dtype=np.float64) ** -options.tenant_skew
    shares = np.cumsum(weights) / weights.sum()
    tenant = np.searchsorted(shares, streams.tenant.random(size), side="right")
    goes_on = streams.turns.random(size) < 1.0 - 1.0 / options.turns_mean
    medians = np.full(size, float(options.prompt_tokens_median))
    if options.lengths == "mixture":
        medians[streams.prompt.random(size) < options.long_share] *= options.long_factor
    prompt_tokens = _lognormal(streams.prompt, medians, options, options.input_tokens_max)
    output_tokens = _lognormal(
        streams.output,
        np.full(size, float(options.output_tokens_median)),
        options,
        options.output_tokens_max,
    )
    aborted = streams.aborts.random(size) < options.abort_rate
    delays_us = np.rint(streams.aborts.exponential(options.abort_s_mean, size) * 1e6)
    cancels_us = (arrival_us + delays_us.astype(np.int64)).tolist()
    return _Draws(
        arrival_us=arrival_us.tolist(),
        tenant=np.minimum(tenant, options.tenants - 1).tolist(),
        goes_on=goes_on.tolist(),
        prompt_tokens=prompt_tokens.tolist(),
        output_tokens=output_tokens.tolist(),
        cancel_us=[
            when if is_aborted else None
            for when, is_aborted in zip(cancels_us, aborted.tolist(), strict=True)
        ],
    )


def _lognormal(
    stream: np.random.Generator,
    medians: npt.NDArray[np.float64],
    options: SynthesisOptions,
    tokens_max: int,
) -> npt.NDArray[np.int64]:
    """Draw token counts from 1 to `tokens_max`, lognormal about `medians`."""
    factors = stream.lognormal(0.0, options.tokens_sigma, medians.size)
    return np.clip(np.rint(medians * factors), 1, tokens_max).astype(np.int64)


def _arrival_chunks(
    options: SynthesisOptions, streams: _Streams
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield an endless sequence of sorted arrival times in microseconds, `CHUNK_REQUESTS` at a time.

    A unit-rate Poisson process is stretched by the inverse of the accumulated rate: a straight
    line for `poisson`; for `bursty` a polyline whose slope alternates between two rates.
    """
    share = options.burst_share
    calm_per_s = options.rate_per_s / (1.0 - share + share * options.burst_factor)
    burst_per_s = calm_per_s * options.burst_factor
    calm_s_mean = options.cycle_s_mean - options.burst_s_mean
    total = 0.0
    knots = [(0.0, 0.0)]
    in_burst = False
    while True:
        steps = total + np.cumsum(streams.gaps.exponential(1.0, CHUNK_REQUESTS))
        total = float(steps[-1])
        if options.arrivals == "poisson":
            yield (steps / options.rate_per_s * 1e6).astype(np.int64)
            continue
        while knots[-1][0] < total:
            seconds = float(
                streams.bursts.exponential(options.burst_s_mean if in_burst else calm_s_mean)
            )
            rate_per_s = burst_per_s if in_burst else calm_per_s
            work, time_s = knots[-1]
            knots.append((work + seconds * rate_per_s, time_s + seconds))
            in_burst = not in_burst
        works, times_s = np.array(knots).T
        times_us = np.interp(steps, works, times_s) * 1e6
        yield times_us.astype(np.int64)
        passed = int(np.searchsorted(works, total, side="right")) - 1
        knots = knots[passed:]


def _make_tenants(options: SynthesisOptions, streams: _Streams) -> list[_Tenant]:
    tenants: list[_Tenant] = []
    taken: set[str] = set()
    medians = np.full(options.tenants, float(options.system_tokens_median))
    longest = max(options.input_tokens_max // 2, 1)
    lengths = _lognormal(streams.system, medians, options, longest).tolist()
    for index in range(options.tenants):
        base = re.sub(r"[^a-z0-9]+", "-", streams.faker.company().lower()).strip("-")
        slug = base if base not in taken else f"{base}-{index}"
        taken.add(slug)
        key = child_key(streams.hash_key, index)
        system_tokens = int(lengths[index]) if options.system_tokens_median else 0
        # Only blocks that the system prompt fills are shared by all sessions of the tenant.
        chain, hashes = chain_blocks(key, key, 0, system_tokens // options.block_size)
        tenants.append(_Tenant(slug, key, system_tokens, chain, hashes))
    return tenants


def _next_request(
    tenant: _Tenant, options: SynthesisOptions, faker: Faker, draws: _Draws, row: int
) -> TraceRequest:
    """Make the tenant's next request: the next turn of a waiting session or a new session."""
    arrival_us = draws.arrival_us[row]
    new_tokens = draws.prompt_tokens[row]
    session = None
    if draws.goes_on[row]:
        session = _resume_session(tenant, options, arrival_us, new_tokens)
    if session is None:
        session = _open_session(tenant, faker)
    input_tokens = min(session.context_tokens + new_tokens, options.input_tokens_max)
    hashes = _extend_hashes(session, input_tokens, options.block_size)
    session.turn += 1
    session.last_arrival_us = arrival_us
    session.context_tokens = input_tokens + draws.output_tokens[row]
    tenant.open_sessions.append(session)
    if len(tenant.open_sessions) > options.open_sessions_max:
        tenant.open_sessions.popleft()
    return TraceRequest(
        request_id=f"{session.identity}/{session.turn}",
        arrival_us=arrival_us,
        input_tokens=input_tokens,
        output_tokens=draws.output_tokens[row],
        block_hashes=hashes,
        session_id=session.identity,
        cancel_us=draws.cancel_us[row],
    )


def _resume_session(
    tenant: _Tenant, options: SynthesisOptions, arrival_us: int, new_tokens: int
) -> _Session | None:
    """Return the longest waiting session, or None if none has waited long enough or has room."""
    while tenant.open_sessions:
        session = tenant.open_sessions[0]
        if arrival_us - session.last_arrival_us < options.think_s_min * 1e6:
            return None
        tenant.open_sessions.popleft()
        if session.context_tokens + new_tokens <= options.input_tokens_max:
            return session
    return None


def _open_session(tenant: _Tenant, faker: Faker) -> _Session:
    tenant.session_count += 1
    return _Session(
        identity=f"{tenant.slug}/{faker.user_name()}-{tenant.session_count}",
        key=child_key(tenant.key, tenant.session_count),
        turn=0,
        last_arrival_us=0,
        context_tokens=tenant.system_tokens,
        chain=tenant.chain,
        full_hashes=tenant.system_hashes,
    )


def _extend_hashes(session: _Session, input_tokens: int, block_size: int) -> npt.NDArray[np.uint64]:
    """Return the hashes of the prompt, and keep those of its full blocks for the next turn."""
    full_blocks, tail_tokens = divmod(input_tokens, block_size)
    first = session.full_hashes.size
    if full_blocks > first:
        session.chain, fresh = chain_blocks(session.chain, session.key, first, full_blocks - first)
        session.full_hashes = np.concatenate((session.full_hashes, fresh))
    if not tail_tokens:
        return session.full_hashes
    # A partial block has different content from the full block that it grows into.
    tail_key = child_key(session.key, -tail_tokens)
    _, tail = chain_blocks(session.chain, tail_key, full_blocks, 1)
    return np.concatenate((session.full_hashes, tail))
