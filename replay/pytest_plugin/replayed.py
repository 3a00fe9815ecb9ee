"""What came out of a replay, or of the cells of a matrix, for a test to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from replay.commands.options import LINE_CHARACTERS_MAX
from replay.recording.kinds import VerdictName
from replay.recording.words import equation
from traces.text import shortened_lines

#: Cells that are told at length; the rest are counted.
_TOLD_MAX = 20


@dataclass(frozen=True, slots=True)
class Replayed:
    """One replay."""

    #: What `kvreplay run --json` prints.
    summary: Mapping[str, Any]
    #: The directory of the recording; `kvreplay report` draws it.
    recording: Path
    #: The line that does it again.
    reproduce: str
    #: What the allocator did that no correct one does, in sentences; empty without one's own.
    misconduct: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """clean, transient, persistent or inconclusive."""
        return str(self.summary["verdict"])

    @property
    def gap(self) -> int:
        """Tokens missing from the pool that is worst off, when it was; negative when too many."""
        mismatch = self.summary["mismatch"]
        return 0 if mismatch is None else int(mismatch["gap"])

    @property
    def kinds(self) -> dict[str, int]:
        """Pages by what is wrong with them."""
        return dict(self.summary["kinds"])

    @property
    def equation(self) -> str | None:
        """Where the gap is, as both sides of the engine's equation; None without a gap."""
        mismatch = self.summary["mismatch"]
        return None if mismatch is None else equation(mismatch)

    @property
    def recording_sha256(self) -> str:
        """The fingerprint of the recording: equal for two replays that saw the same."""
        return str(self.summary["recording_sha256"])

    def assert_verdict(self, *wanted: VerdictName) -> None:
        """Fail the test unless the verdict is one of these.

        Raises:
            AssertionError: it is another one; the text says what is missing and how to repeat it.
            ValueError: there is no such verdict.
        """
        __tracebackhide__ = True
        if unknown := sorted(set(wanted) - set(get_args(VerdictName))) or not wanted:
            raise ValueError(f"{unknown}: verdicts are {', '.join(get_args(VerdictName))}")
        if self.verdict not in wanted:
            raise AssertionError(self._complaint(" or ".join(wanted)))

    def _complaint(self, wanted: str) -> str:
        summary = self.summary
        lines = [f"{self.verdict} where {wanted} was expected: {summary['why']}", *self.details()]
        return shortened_lines("\n".join(lines), LINE_CHARACTERS_MAX)

    def details(self) -> list[str]:
        """What was seen and how to see it again, as indented lines."""
        summary = self.summary
        kinds = ", ".join(f"{kind} {pages}" for kind, pages in self.kinds.items())
        lines = [f"  pages by kind: {kinds}"] if kinds else []
        words = summary["engine_message"] or summary["engine_died_message"]
        lines += what_was_seen(self.equation, words, summary["engine_check_fired"])
        lines += [f"  {sentence}" for sentence in self.misconduct]
        return [*lines, f"  reproduce: {self.reproduce}", f"  recording: {self.recording}"]


@dataclass(frozen=True, slots=True)
class ReplayedCell:
    """A cell of a matrix."""

    name: str
    #: passed, failed or inconclusive, and why.
    outcome: str
    because: str
    #: What was expected, and where the file says so.
    expected: str
    replayed: Replayed


@dataclass(frozen=True, slots=True)
class ReplayedMatrix:
    """All cells of a matrix."""

    cells: tuple[ReplayedCell, ...]

    @property
    def unexpected(self) -> tuple[ReplayedCell, ...]:
        """The cells that did not come to what the file expects."""
        return tuple(cell for cell in self.cells if cell.outcome != "passed")

    def assert_expected(self) -> None:
        """Fail the test unless every cell came to what the file expects.

        Raises:
            AssertionError: some did not; the text says of each what broke and how to repeat it.
        """
        __tracebackhide__ = True
        wrong = self.unexpected
        if not wrong:
            return
        lines = [f"{len(wrong)} of {len(self.cells)} cells are not as expected"]
        for cell in wrong[:_TOLD_MAX]:
            lines += [f"{cell.outcome}: {cell.name}", f"  {cell.because}"]
            lines += [f"  expected: {cell.expected}", *cell.replayed.details()]
        if len(wrong) > _TOLD_MAX:
            lines.append(f"and {len(wrong) - _TOLD_MAX} more")
        raise AssertionError(shortened_lines("\n".join(lines), LINE_CHARACTERS_MAX))


def what_was_seen(equation: str | None, words: str | None, fired: bool) -> list[str]:
    """The broken equation and the engine's words, where there are any, as indented lines."""
    lines = [f"  {equation}"] if equation else []
    if words:
        said = "said" if fired else "would have said, had it looked"
        lines.append(f"  the engine {said}:")
        lines += [f"    {line}" for line in words.rstrip("\n").split("\n")]
    return lines
