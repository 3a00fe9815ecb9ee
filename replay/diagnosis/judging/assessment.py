"""What judging says of one series or one server, before the worst of them becomes the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from replay.recording.kinds import GrowthName, KindName, VerdictName
from replay.server_lines.records import Observation

#: As in a replay's verdict, and what only a log shows: a pool that is merely full, transfers that
#: hang without a gap, a scheduler that died for another reason, a gap without known owners,
#: nothing wrong.
DiagnosisKind = KindName | Literal["pressure", "hang", "crash", "unknown", "none"]
Direction = Literal["leak", "over-free", "none"]
Growth = GrowthName | Literal["unknown", "none"]


class Weight(IntEnum):
    """How much a assessment says, the worst last."""

    CLEAN = 0
    #: Lines were read, none of them of an idle moment: neither good nor bad.
    NEVER_IDLE = 1
    #: Nothing wrong that a log can show, though something was late for a while.
    TRANSIENT = 2
    SUSPICION = 3
    PERSISTENT = 4


_WEIGHTS: dict[VerdictName, Weight] = {
    "clean": Weight.CLEAN,
    "transient": Weight.TRANSIENT,
    "inconclusive": Weight.SUSPICION,
    "persistent": Weight.PERSISTENT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A verdict on one series (or on the transfers of one server) with its reasons."""

    verdict: VerdictName
    kind: DiagnosisKind
    why: str
    direction: Direction = "none"
    growth: Growth = "none"
    #: What to collect to be surer.
    next: tuple[str, ...] = ()
    #: The accounting line that shows it best.
    observation: Observation | None = None
    #: Tokens missing (or too many), for choosing among assessments of one weight.
    gap_tokens: int = 0
    #: Size of the pool and what of it cannot be explained, where no accounting line says so.
    stuck_of_total: tuple[int, int] | None = None
    #: Its place among others, where the verdict does not say it.
    own_weight: Weight | None = None

    @property
    def weight(self) -> Weight:
        """Its place among other assessments."""
        return _WEIGHTS[self.verdict] if self.own_weight is None else self.own_weight


def clean(why: str) -> Assessment:
    """Nothing wrong was seen, by moments that would have shown it."""
    return Assessment(verdict="clean", kind="none", why=why)


def unclear(
    kind: DiagnosisKind, why: str, steps: tuple[str, ...], growth: Growth = "unknown"
) -> Assessment:
    """The lines cannot tell; `steps` would."""
    return Assessment(verdict="inconclusive", kind=kind, growth=growth, why=why, next=steps)


def direction_of(gap: int) -> Direction:
    """Leak when something is missing, over-free when there is too much."""
    return "leak" if gap > 0 else "over-free" if gap < 0 else "none"
