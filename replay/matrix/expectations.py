"""What was expected of each cell, and how its outcome follows from what came out.

Of the `[[expect]]` tables that match a cell, the last one is its expectation, whole. Outcomes are
judged from stored facts, so a changed expectation needs no replay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replay.matrix.cells import Cell, matches
from replay.recording.kinds import GROWTH_CYCLES_MIN
from replay.run.matrix_file import Expect, MatrixSource

#: What a cell without an expectation may come to, as for `kvreplay run` without `--expect`.
DEFAULT_VERDICTS = ("clean", "transient")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a cell must come to; empty and None ask for nothing."""

    verdicts: tuple[str, ...] = DEFAULT_VERDICTS
    kinds: tuple[str, ...] = ()
    max_gap_tokens: int | None = None
    max_heal_us: int | None = None
    growth: tuple[str, ...] = ()
    #: Of the `[[expect]]`; None where no table asks for anything.
    line: int | None = None

    def __str__(self) -> str:
        """In a few words."""
        words = [" or ".join(self.verdicts)]
        words += [f"kinds within {', '.join(self.kinds)}"] if self.kinds else []
        if self.max_gap_tokens is not None:
            words.append(f"gap at most {self.max_gap_tokens} tokens")
        if self.max_heal_us is not None:
            words.append(f"healed within {self.max_heal_us} us")
        words += [f"growth {' or '.join(self.growth)}"] if self.growth else []
        return "; ".join(words)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One of `OUTCOMES`, and why in one sentence."""

    outcome: str
    because: str


def find_expectations(
    source: MatrixSource, cells: Sequence[Cell], warn: Callable[[str], None]
) -> dict[str, Expectation]:
    """The expectation of every cell by its name; warns of those that none mentions.

    Raises:
        MatrixError: an `[[expect]]` matches no cell, or asks for what no cell can come to.
    """
    _check_sense(source)
    matched = [0] * len(source.file.expect)
    decisive = [0] * len(source.file.expect)
    found: dict[str, Expectation] = {}
    for cell in cells:
        places = [
            place
            for place, entry in enumerate(source.file.expect)
            if matches(entry.cells, cell.axes)
        ]
        for place in places:
            matched[place] += 1
        if places:
            decisive[places[-1]] += 1
            found[cell.name] = _expectation(source, places[-1])
        else:
            found[cell.name] = Expectation()
    for place, count in enumerate(matched):
        if not count:
            raise source.error(f"expect[{place + 1}] matches no cell", "expect", place)
        if not decisive[place]:
            warn(
                source.at(
                    f"expect[{place + 1}] says nothing: a later one has the last word on every "
                    "cell that it matches",
                    "expect",
                    place,
                )
            )
    without = [cell for cell in cells if found[cell.name].line is None]
    if without:
        warn(
            source.at(
                f"{len(without)} of {len(cells)} cells match no [[expect]], such as "
                f"{without[0].name}; they pass when clean or transient",
                *without[0].places["table"],
            )
        )
    return found


def _check_sense(source: MatrixSource) -> None:
    """Refuse expectations that no replay can meet, whatever it does."""
    for place, entry in enumerate(source.file.expect):
        verdicts = set(entry.verdict or DEFAULT_VERDICTS)
        if entry.growth and source.file.run.repeat < GROWTH_CYCLES_MIN:
            complaint = (
                f"growth shows after {GROWTH_CYCLES_MIN} clean cycles, and run.repeat is "
                f"{source.file.run.repeat}"
            )
            key = "growth"
        elif entry.growth and not verdicts & {"persistent", "inconclusive"}:
            complaint = 'only what stays can grow; it goes with verdict = "persistent"'
            key = "growth"
        elif entry.max_heal_us is not None and verdicts == {"persistent"}:
            complaint = "what is persistent never heals; leave one of the two out"
            key = "max_heal_us"
        else:
            continue
        raise source.error(f"expect[{place + 1}].{key}: {complaint}", "expect", place, key)


def _expectation(source: MatrixSource, place: int) -> Expectation:
    entry: Expect = source.file.expect[place]
    return Expectation(
        verdicts=tuple(entry.verdict or DEFAULT_VERDICTS),
        kinds=tuple(entry.kinds or ()),
        max_gap_tokens=entry.max_gap_tokens,
        max_heal_us=entry.max_heal_us,
        growth=tuple(entry.growth or ()),
        line=source.line("expect", place),
    )


def judge_cell(document: Mapping[str, Any], expectation: Expectation) -> Judgement:
    """What became of a cell, from its stored document."""
    if document["state"] != "finished":
        return Judgement(document["state"], document["error"])
    facts = document["facts"]
    verdict = facts["verdict"]
    untested = _untested(facts)
    if verdict not in expectation.verdicts:
        outcome = "inconclusive" if verdict == "inconclusive" else "failed"
        wanted = " or ".join(expectation.verdicts)
        return Judgement(outcome, f"{verdict} where {wanted} was expected: {facts['why']}")
    if complaints := _out_of_bounds(facts, expectation):
        return Judgement("failed", "; ".join(complaints))
    if untested:
        return Judgement("inconclusive", untested)
    return Judgement("passed", f"{verdict}, as expected: {facts['why']}")


def _untested(facts: Mapping[str, Any]) -> str | None:
    """Why the cell tested less than its plan says, or None."""
    parts = [
        (facts["rules_never_fired"], "never fired"),
        (facts["rules_without_effect"], "changed nothing that can be seen"),
    ]
    told = [
        f"{'rule' if len(names) == 1 else 'rules'} {', '.join(map(repr, names))} {what}"
        for names, what in parts
        if names
    ]
    return f"not everything was tested: {'; '.join(told)}" if told else None


def _out_of_bounds(facts: Mapping[str, Any], expectation: Expectation) -> list[str]:
    """What the verdict does not say, but the expectation bounds."""
    complaints = []
    kinds = dict(facts["kinds"])
    if expectation.kinds:
        strange = [kind for kind in kinds if kind not in expectation.kinds]
        wanted = " or ".join(expectation.kinds)
        if strange:
            complaints.append(f"kind {', '.join(strange)} where only {wanted} was expected")
        elif not kinds and facts["verdict"] != "clean":
            complaints.append(f"no page of any kind where {wanted} was expected")
    gap, gap_max = facts["gap_tokens_max"], expectation.max_gap_tokens
    if gap_max is not None and gap > gap_max:
        complaints.append(f"a gap of {gap} tokens where at most {gap_max} was expected")
    heal_max = expectation.max_heal_us
    if heal_max is not None and facts["episodes_open"]:
        complaints.append(f"a gap never closed where {heal_max} us was expected at most")
    elif heal_max is not None and (facts["heal_us_max"] or 0) > heal_max:
        complaints.append(
            f"a gap was open for {facts['heal_us_max']} us where at most {heal_max} was expected"
        )
    if expectation.growth and facts["growth"] not in expectation.growth:
        complaints.append(
            f"growth {facts['growth'] or 'unknown'} where {' or '.join(expectation.growth)} was expected"
        )
    return complaints
