"""The equation that a gap breaks, both sides of it, as the first screen shows it."""

from __future__ import annotations

from dataclasses import dataclass

from reports.evidence import Evidence
from reports.words import number, seconds


@dataclass(frozen=True, slots=True)
class Equation:
    """Both sides of the broken equation, and the gap in whole pages."""

    pool: str
    when: str
    terms: tuple[tuple[str, str], ...]
    accounted: str
    total: str
    gap: str
    pages: str
    page_size: str
    quiet: bool


def make_equation(evidence: Evidence) -> Equation | None:
    """The equation that the mismatch breaks, or None when nothing is missing."""
    mismatch = evidence.summary["mismatch"]
    if mismatch is None:
        return None
    parts = {name: mismatch[name] for name in ("available", "evictable", "protected")}
    if not mismatch["quiet"]:
        parts |= {"live": mismatch["live"], "in transfer": mismatch["in_transfer"]}
    return Equation(
        pool=mismatch["pool"],
        when=seconds(mismatch["time_us"]),
        terms=tuple((name, number(value)) for name, value in parts.items()),
        accounted=number(sum(parts.values())),
        total=number(mismatch["total"]),
        gap=number(mismatch["gap"]),
        pages=number(mismatch["pages"]),
        page_size=number(mismatch["page_size"]),
        quiet=mismatch["quiet"],
    )
