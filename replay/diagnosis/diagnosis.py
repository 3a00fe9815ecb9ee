"""A diagnosis: the verdict on logs and what led to it, and its JSON document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from replay.diagnosis.judging.finding import Finding
from replay.diagnosis.judging.page_sizes import page_fits
from replay.server_lines.records import Crash, Observation, Place, Transfer

SCHEMA = "kvreplay.diagnosis/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesVerdict:
    """The verdict on one rank's pool, or on the transfers of one server (pool empty)."""

    engine: str
    server: str
    instance: str
    rank: str
    pool: str
    observations: int
    loads: int
    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What logs say, the worst first."""

    engine: str
    worst: Finding
    reproduce: str
    #: Other ranks that print the same gap as the worst: one gap, not several.
    same_gap_ranks: tuple[str, ...]
    series: tuple[SeriesVerdict, ...]
    observations: tuple[Observation, ...]
    observations_total: int
    transfers: tuple[Transfer, ...]
    transfers_total: int
    crashes: tuple[Crash, ...]
    crashes_total: int
    lines_read: int
    known_lines: int
    #: What could not be read, one sentence each.
    problems: tuple[str, ...] = ()

    @property
    def gap_tokens(self) -> int:
        """The gap that the verdict is about; 0 when it is about none."""
        shown = self.worst.observation
        return self.worst.gap_tokens if shown is None else shown.gap

    @property
    def summary(self) -> tuple[object, ...]:
        """What makes a diagnosis another one for who watches a log."""
        worst = self.worst
        return (
            self.engine,
            worst.verdict,
            worst.kind,
            worst.direction,
            worst.growth,
            self.gap_tokens,
        )

    def to_dict(self) -> dict[str, Any]:
        """The document, schema `kvreplay.diagnosis/1`."""
        worst = self.worst
        return {
            "schema": SCHEMA,
            "engine": self.engine,
            "verdict": worst.verdict,
            "direction": worst.direction,
            "growth": worst.growth,
            "kind": worst.kind,
            "why": worst.why,
            "next": list(worst.next),
            "reproduce": self.reproduce,
            "gap": self.gap_tokens,
            "pages": [
                {"page_size": fit.page_size, "pages": fit.pages}
                for fit in page_fits(self.gap_tokens)
            ],
            "same_gap_ranks": list(self.same_gap_ranks),
            "observations": [_observation(each) for each in self.observations],
            "observations_total": self.observations_total,
            "transfers": [_transfer(each) for each in self.transfers],
            "transfers_total": self.transfers_total,
            "crashes": [{**_place(each.place), "message": each.message} for each in self.crashes],
            "crashes_total": self.crashes_total,
            "series": [_series(each) for each in self.series],
            "lines_read": self.lines_read,
            "known_lines": self.known_lines,
            "problems": list(self.problems),
        }


def _place(place: Place) -> dict[str, Any]:
    return {
        "source": place.source,
        "line": place.line,
        "time": place.time,
        "rank": place.rank,
        "instance": place.instance,
    }


def _observation(each: Observation) -> dict[str, Any]:
    return {
        **_place(each.place),
        "pool": each.pool,
        "available": each.available,
        "evictable": each.evictable,
        "protected": each.protected,
        "session_held": each.session_held,
        "uncached": each.uncached,
        "total": each.total,
        "gap": each.gap,
        "busy": each.busy,
        "raised": each.raised,
    }


def _transfer(each: Transfer) -> dict[str, Any]:
    return {
        **_place(each.place),
        "room": each.room,
        "request_id": each.request_id,
        "trouble": str(each.trouble),
        "reason": each.reason,
        "timeout_s": each.timeout_s,
        "pages": each.pages,
    }


def _series(each: SeriesVerdict) -> dict[str, Any]:
    finding = each.finding
    return {
        "engine": each.engine,
        "server": each.server,
        "instance": each.instance,
        "rank": each.rank,
        "pool": each.pool,
        "verdict": finding.verdict,
        "direction": finding.direction,
        "growth": finding.growth,
        "kind": finding.kind,
        "gap": finding.observation.gap if finding.observation else finding.gap_tokens,
        "why": finding.why,
        "observations": each.observations,
        "loads": each.loads,
    }
