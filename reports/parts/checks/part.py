"""All checks of the section; they come from `reports.reconcile` and from the other parts."""

from __future__ import annotations

from reports.parts.base import Part

#: Its template shows the checks of the section: more of them may be made after this part.
CHECKS = Part("checks", lambda _: (), link="Checks")
