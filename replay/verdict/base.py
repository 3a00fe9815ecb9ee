"""What an oracle must be: one independent view of a recording, in a file of its name.

count         the gap of every audit
contents      pages and first tokens that held other bytes than the reader's own
liveness      requests that never ended on one side
ledger        pages that changed hands, or were written or read, as in no correct engine
engine_check  the engine's own check, and what the engine would have died of

Each also has `blocks`, the parts of findings it accounts for, with the arguments it needs.
`replay.verdict.rules` has the list, in the order in which a verdict asks them.
"""

from __future__ import annotations

from typing import Protocol

from replay.recording.kinds import VerdictName
from replay.recording.reader import Recording

#: A verdict, and one sentence that says why.
Ruling = tuple[VerdictName, str]

#: Of an id, in a sentence.
ID_CHARACTERS_MAX = 200


class Oracle(Protocol):
    """What one oracle saw in a finished recording."""

    def kinds(self) -> dict[str, int]:
        """Pages by kind."""

    def ruling(self) -> Ruling | None:
        """The verdict by this oracle alone; None where it has nothing to say."""

    def blame(self, recording: Recording) -> str:
        """One sentence about what led to the ruling; empty where there is none."""
