"""Which of a pool's gaps one page was in: the stays of whoever held it, while it was held.

stalled, departed    every page that the request holds then
cache-held           pages of the cache that the request's transfer reads
over-freed           the page that the request gave back without holding it
"""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc

from replay.explain.sightings import Sighted
from replay.pool.owner_codes import CACHE, FREE
from replay.recording.kinds import ShareKind
from replay.recording.reader import Recording
from replay.recording.tables import OWNERS_SCHEMA

#: (from, until), in virtual microseconds.
_Span = tuple[int, int]
_FOREVER = 1 << 62


def stays_of_page(recording: Recording, pool: str, sighted: Sighted) -> list[dict[str, Any]]:
    """The rows of owners.parquet whose pages this one was among.

    Raises:
        RecordingError: the table is missing or broken.
    """
    held, cached, freed_wrongly = _spans(sighted)
    users = {sighted.name(code) for code in _users(sighted)}
    found = []
    for batch in recording.batches("owners", OWNERS_SCHEMA.names):
        for stay in batch.filter(pc.equal(batch["pool"], pool)).to_pylist():
            owner, share = stay["request_id"], stay["share"]
            if share == ShareKind.OVER_FREED:
                is_here = stay["opened_us"] in freed_wrongly.get(owner, ())
            elif share == ShareKind.CACHE_HELD:
                is_here = owner in users and _overlaps(stay, cached)
            else:
                is_here = _overlaps(stay, held.get(owner, []))
            if is_here:
                found.append(stay)
    return found


def _spans(sighted: Sighted) -> tuple[dict[str, list[_Span]], list[_Span], dict[str, list[int]]]:
    """When each request held the page, when the cache did, and who freed it wrongly when."""
    held: dict[str, list[_Span]] = {}
    cached: list[_Span] = []
    freed_wrongly: dict[str, list[int]] = {}
    holder, since_us = FREE, 0

    def close(until_us: int) -> None:
        if holder == CACHE:
            cached.append((since_us, until_us))
        elif holder != FREE:
            held.setdefault(sighted.name(holder), []).append((since_us, until_us))

    for sighting in sighted.pages:
        by, time_us = sighting.by[0], sighting.time_us
        if sighting.action not in ("take", "release", "cache", "evict"):
            continue
        if sighting.action == "release" and sighting.holders[0] != by:
            freed_wrongly.setdefault(sighted.name(by), []).append(time_us)
        close(time_us)
        holder = {"take": by, "cache": CACHE}.get(sighting.action, FREE)
        since_us = time_us
    close(_FOREVER)
    return held, cached, freed_wrongly


def _users(sighted: Sighted) -> set[int]:
    """Who gave the page to the cache, or had it read by a transfer."""
    return {
        sighting.by[0]
        for sighting in sighted.pages
        if sighting.action in ("cache", "sent", "stray-read")
    }


def _overlaps(stay: dict[str, Any], spans: list[_Span]) -> bool:
    end_us = _FOREVER if stay["closed_us"] is None else stay["closed_us"]
    return any(
        since_us <= stay["opened_us"] < until_us or stay["opened_us"] <= since_us < end_us
        for since_us, until_us in spans
    )
