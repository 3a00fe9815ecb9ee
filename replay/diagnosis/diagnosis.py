"""A diagnosis: the verdict on logs and what led to it, and its JSON document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from replay.diagnosis.judging.assessment import Assessment
from replay.diagnosis.judging.page_sizes import page_fits
from replay.diagnosis.judging.series import SeriesKey
from replay.server_lines.records import Crash, Observation, Place, Transfer

SCHEMA = "kvreplay.diagnosis/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesVerdict(SeriesKey):
    """The verdict on one rank's pool, or on the transfers of one server (pool empty)."""

    observations: int
    loads: int
    assessment: Assessment


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What logs say, the worst first."""

    engine: str
    worst: Assessment
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
        """The part of a diagnosis whose change is worth showing to who watches a log."""
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
            **_fields(worst, "verdict", "direction", "growth", "kind", "why"),
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


def _fields(each: object, *names: str) -> dict[str, Any]:
    return {name: getattr(each, name) for name in names}


def _place(place: Place) -> dict[str, Any]:
    return _fields(place, "source", "line", "time", "rank", "instance")


def _observation(each: Observation) -> dict[str, Any]:
    counts = ("available", "evictable", "protected", "session_held", "uncached", "total", "gap")
    return _place(each.place) | _fields(each, "pool", *counts, "busy", "raised")


def _transfer(each: Transfer) -> dict[str, Any]:
    names = ("room", "request_id", "trouble", "reason", "timeout_s", "pages")
    return _place(each.place) | _fields(each, *names) | {"trouble": str(each.trouble)}


def _series(each: SeriesVerdict) -> dict[str, Any]:
    found = each.assessment
    gap = found.observation.gap if found.observation else found.gap_tokens
    return {
        **_fields(each, "engine", "server", "instance", "rank", "pool"),
        **_fields(found, "verdict", "direction", "growth", "kind"),
        "gap": gap,
        "why": found.why,
        **_fields(each, "observations", "loads"),
    }
