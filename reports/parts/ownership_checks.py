"""Checks that the map of the pool agrees with its audit and with the owners of the gap.

The map comes from the ledger, page by page; the audit from what the allocator, the cache and the
schedulers count. After pages were released too often a page may be counted several times, and then
only what is free and what is held can be compared, not each of their parts.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from replay.verdict.episodes import kind_of
from reports.evidence import Evidence
from reports.parts.ownership import PageMap, read_page_map, stays_at
from reports.reconcile import Check
from reports.words import number

_IN_GAP = ("stalled", "departed", "cache-held")


def check_ownership(evidence: Evidence) -> tuple[Check, ...]:
    """Every check of the map; none where the recording has no map."""
    import pyarrow.compute as pc

    if evidence.summary["mismatch"] is None or (found := read_page_map(evidence)) is None:
        return ()
    audits = evidence.tables["audits"]
    (audit,) = audits.filter(pc.equal(audits["audit"], found.audit)).to_pylist()
    stays = stays_at(evidence, found.pool, found.audit)
    drift = sum(stay["pages"] for stay in stays if stay["share"] == "counter-drift")
    totals = {pool["pool"]: pool["total_tokens"] for pool in evidence.run["pools"]}
    size = evidence.page_size
    checks = [_equal("all pages = total", found.pages * size, totals.get(found.pool, 0))]
    if is_shared(found) or any(stay["share"] == "over-freed" for stay in stays):
        return (*checks, *_shared(evidence, found, audit, stays, drift))
    return (*checks, *_plain(found, audit, stays, drift, size))


def is_shared(found: PageMap) -> bool:
    """Whether a page is counted more than once, or not at all."""
    return any(each.listed + each.holders != 1 for each in found.stretches)


def _plain(
    found: PageMap, audit: dict[str, Any], stays: list[dict[str, Any]], drift: int, size: int
) -> list[Check]:
    free, cached = found.pages_of(["free"]) * size, found.pages_of(["cached", "protected"]) * size
    counted = audit["evictable"] + audit["protected"]
    if drift:
        checks = [
            _equal(
                "free + cached + protected = available + evictable + protected + counter drift",
                free + cached,
                audit["available"] + counted + drift * size,
            )
        ]
    else:
        checks = [
            _equal("free = available", free, audit["available"]),
            _equal("cached + protected = evictable + protected", cached, counted),
        ]
    checks += [
        _equal("running = live", found.pages_of(["running"]) * size, audit["live"]),
        _equal(
            "in transfer = in transfer",
            found.pages_of(["in transfer"]) * size,
            audit["in_transfer"],
        ),
    ]
    shown: Counter[tuple[str | None, str]] = Counter()
    for each in found.stretches:
        if each.state in _IN_GAP:
            shown[each.request_id, each.word] += each.pages
    owned: Counter[tuple[str | None, str]] = Counter()
    for stay in stays:
        if stay["share"] in _IN_GAP:
            owned[stay["request_id"], _kind(stay)] += stay["pages"]
    claim = "the gap, request by request and kind by kind = owners.parquet"
    left, right = shown.total() * size, owned.total() * size
    return [*checks, _check(claim, left, right, shown == owned)]


def _shared(
    evidence: Evidence,
    found: PageMap,
    audit: dict[str, Any],
    stays: list[dict[str, Any]],
    drift: int,
) -> list[Check]:
    size = evidence.page_size
    leaked = sum(stay["pages"] for stay in stays if stay["share"] in _IN_GAP)
    counted = sum(audit[name] for name in ("evictable", "protected", "live", "in_transfer"))
    held = _equal(
        "pages \N{MULTIPLICATION SIGN} holders = evictable + protected + live + in transfer + "
        "leaked + counter drift",
        sum(each.pages * each.holders for each in found.stretches) * size,
        counted + (leaked + drift) * size,
    )
    if "allocator" in evidence.run["environment"]:
        # What is on a user's own list only that list knows.
        return [] if drift else [held]
    over_freed = -sum(stay["pages"] for stay in stays if stay["share"] == "over-freed")
    return [
        held,
        _equal(
            "pages \N{MULTIPLICATION SIGN} times they are listed as free = available",
            sum(each.pages * each.listed for each in found.stretches) * size,
            audit["available"],
        ),
        _equal(
            "pages counted more than once = pages over-freed",
            sum(each.pages * (each.listed + each.holders - 1) for each in found.stretches) * size,
            over_freed * size,
        ),
    ]


def _kind(stay: dict[str, Any]) -> str:
    return kind_of(stay["share"], stay["closed_audit"] is not None, stay["can_progress"])


def _equal(claim: str, left: int, right: int) -> Check:
    return _check(claim, left, right, left == right)


def _check(claim: str, left: int, right: int, passed: bool) -> Check:
    return Check(f"on the map, in tokens: {claim}", number(left), number(right), passed)
