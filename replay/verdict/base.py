"""What an oracle must be: one independent view of a recording, in a file of its name.

count         the gap of every audit
contents      pages and first tokens that held other bytes than the reader's own
liveness      requests that never ended on one side
ledger        pages that changed hands, or were written or read, as in no correct engine
engine_check  the engine's own check, and what the engine would have died of

`replay.verdict.rules` has the list, in the order in which a verdict asks them. All that is said of an
oracle, in the summary, in findings and by shrinking, is asked of it here: nothing else lists them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from replay.recording.kinds import VerdictName
from replay.recording.reader import Recording
from replay.verdict.findings.finding import Blamed, Block

#: A verdict, and one sentence that says why.
Ruling = tuple[VerdictName, str]

#: Of an id, in a sentence.
ID_CHARACTERS_MAX = 200


class Oracle(ABC):
    """What one oracle saw in a finished recording."""

    __slots__ = ()

    #: What run.json, the summary and `replay.verdict.rules.Oracles` call it.
    name: ClassVar[str]
    #: What is held against the pair, after a number of what `total` counts.
    objection: ClassVar[str] = "violations"
    #: The kinds that a persistent verdict of this oracle can rest on; None where it may be any.
    telling_kinds: ClassVar[tuple[str, ...] | None] = None

    @property
    @abstractmethod
    def total(self) -> int | None:
        """What the summary counts; None where the recording does not tell, and no number stands there."""

    @abstractmethod
    def kinds(self) -> dict[str, int]:
        """Pages by kind."""

    @abstractmethod
    def ruling(self) -> Ruling | None:
        """The verdict by this oracle alone; None where it has nothing to say."""

    @abstractmethod
    def blame(self, recording: Recording) -> str:
        """One sentence about what led to the ruling; empty where there is none."""

    @abstractmethod
    def blocks(self, recording: Recording, in_gaps: Sequence[Block]) -> Blamed:
        """The parts of findings that it accounts for; `in_gaps` are those of the count oracle."""

    @classmethod
    def objections(cls, summary: Mapping[str, Any]) -> list[str]:
        """What a summary holds against the pair itself; summaries of before may lack the number."""
        total = summary["oracles"].get(cls.name)
        return [f"{cls.name}: {total} {cls.objection}"] if total else []

    @classmethod
    def ruled(cls, summary: Mapping[str, Any]) -> str | None:
        """What shrinking calls this oracle, where a persistent verdict can be its own; else None."""
        return cls.name if summary["oracles"].get(cls.name) else None
