"""The parts of a recording's section, in the order of the page."""

from __future__ import annotations

from typing import Any

from reports.parts.base import Part
from reports.parts.checks.part import CHECKS
from reports.parts.counted.part import COUNTED
from reports.parts.faults.part import FAULTS
from reports.parts.findings.part import FINDINGS
from reports.parts.first_screen.part import FIRST_SCREEN
from reports.parts.lanes.part import LANES
from reports.parts.latency.part import LATENCY
from reports.parts.left_out.part import LEFT_OUT
from reports.parts.lives.part import LIVES
from reports.parts.ownership.part import OWNERSHIP
from reports.parts.provenance.part import PROVENANCE
from reports.parts.tables.part import TABLES
from reports.parts.timeline.part import TIMELINE

PARTS: tuple[Part[Any], ...] = (
    FIRST_SCREEN,
    COUNTED,
    TIMELINE,
    LEFT_OUT,
    FINDINGS,
    OWNERSHIP,
    LANES,
    TABLES,
    FAULTS,
    LATENCY,
    LIVES,
    CHECKS,
    PROVENANCE,
)
