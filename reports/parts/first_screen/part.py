"""The first screen: the verdict, both sides of the broken equation, and what an engineer on call asks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from replay.recording.tables import NOBODY_NAME
from replay.verdict.blame import owners_that_count
from reports.evidence import Evidence
from reports.parts.base import Part
from reports.words import (
    as_sentence,
    counted,
    direction,
    growth,
    number,
    seconds,
    verdict_words,
)
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


@dataclass(frozen=True, slots=True)
class FirstScreen:
    """What somebody who was woken asks first."""

    verdict: str
    sign: str
    meaning: str
    why: str
    equation: Equation | None
    #: The questions of the first screen, answered.
    answers: tuple[Answer, ...]
    reproduce: str


def make_first_screen(evidence: Evidence) -> FirstScreen:
    """The verdict, why, the equation that does not hold, and the answers."""
    summary = evidence.summary
    sign, meaning = verdict_words(summary["verdict"])
    return FirstScreen(
        verdict=summary["verdict"],
        sign=sign,
        meaning=meaning,
        why=shortened(_sentence(summary["why"]), SENTENCE_CHARACTERS_MAX),
        equation=make_equation(evidence),
        answers=make_answers(evidence),
        reproduce=summary["reproduce"],
    )


def _sentence(why: str) -> str:
    """The reason as a sentence; its long numbers get separators, but names are left alone."""
    if "'" not in why:
        why = re.sub(r"\d{4,}", lambda found: number(int(found.group())), why)
    return as_sentence(why)


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
            Answer("Cause", shortened(as_sentence(summary["blame"]), SENTENCE_CHARACTERS_MAX))
        )
    return tuple(answers)


def _owners(evidence: Evidence, listed: list[dict[str, Any]]) -> Answer:
    """Whose the gap is: the requests with the most pages by name, the others by number."""
    assert evidence.worst is not None
    stays = owners_that_count(evidence.worst)
    names = {owner.request_id for owner in stays} - {NOBODY_NAME}
    if not names:
        return Answer("Owners", "None: no request accounts for these pages.")
    named = tuple(
        f"{shortened(owner['request_id'], NAME_CHARACTERS_MAX)}: "
        f"{counted(abs(owner['pages']), 'page')} {owner['kind']}"
        for owner in listed[:OWNERS_MAX]
    )
    if len(stays) > len(named):
        named += (f"showing {number(len(named))} of {number(len(stays))}, the largest first",)
    return Answer("Owners", f"{counted(len(names), 'request')} on {evidence.worst.pool}:", named)


FIRST_SCREEN = Part("first_screen", lambda context: make_first_screen(context.evidence))
