"""The fault rules as a part of the page."""

from __future__ import annotations

from reports.parts.base import Context, Part
from reports.parts.faults import FaultsPart, check_faults, make_faults


def _make(context: Context) -> FaultsPart | None:
    lanes = context.made.get("lanes")
    link = (lambda name: None) if lanes is None else lanes.anchor_of
    return make_faults(context.evidence, link)


FAULTS = Part("faults", _make, check_faults, "Fault rules", "fault_rules")
