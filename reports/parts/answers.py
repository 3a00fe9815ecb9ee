"""What somebody with a leak asks first, answered: which way, does it grow, whose is it, what did it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from replay.recording.tables import NOBODY_NAME
from replay.verdict.blame import owners_that_count
from reports.evidence import Evidence
from reports.words import as_sentence, counted, direction, growth, number
from traces.text import shortened

#: Owners named on the first screen, and characters of a name there.
OWNERS_MAX = 3
NAME_CHARACTERS_MAX = 80
SENTENCE_CHARACTERS_MAX = 600


@dataclass(frozen=True, slots=True)
class Answer:
    """A question in two or three words, its answer, and what is to be said of that in smaller print."""

    question: str
    words: str
    more: tuple[str, ...] = ()


def make_answers(evidence: Evidence) -> tuple[Answer, ...]:
    """The answers that this recording gives; of one without a gap only what did it, if anything did."""
    summary = evidence.summary
    answers = []
    if summary["mismatch"] is not None:
        answers += [
            Answer("Direction", direction(summary["direction"])),
            Answer("Growth", growth(summary["growth"])),
        ]
    if summary["evidence"] is not None:
        answers.append(_owners(evidence, summary["evidence"]["owners"]))
    if summary["blame"]:
        answers.append(
            Answer("What did it", shortened(as_sentence(summary["blame"]), SENTENCE_CHARACTERS_MAX))
        )
    return tuple(answers)


def _owners(evidence: Evidence, listed: list[dict[str, Any]]) -> Answer:
    """Whose the gap is: the requests with the most pages by name, the others by number."""
    assert evidence.worst is not None
    stays = owners_that_count(evidence.worst)
    names = {owner.request_id for owner in stays} - {NOBODY_NAME}
    if not names:
        return Answer("Who owns it", "Nobody: no request explains these pages.")
    named = tuple(
        f"{shortened(owner['request_id'], NAME_CHARACTERS_MAX)}: "
        f"{counted(abs(owner['pages']), 'page')} {owner['kind']}"
        for owner in listed[:OWNERS_MAX]
    )
    if len(stays) > len(named):
        named += (f"showing {number(len(named))} of {number(len(stays))}, the largest first",)
    return Answer(
        "Who owns it", f"{counted(len(names), 'request')} on {evidence.worst.pool}:", named
    )
