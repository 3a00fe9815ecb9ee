"""What was counted, in words: the facts beside the equation, and what the engine itself would have said."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.compute as pc

from reports.evidence import Evidence
from reports.parts.base import Part
from reports.words import by_count, counted, number, seconds

#: Oracles with words of their own; any other is told by its name.
_TOLD = ("count", "ledger", "contents", "liveness")


@dataclass(frozen=True, slots=True)
class Counted:
    """What stands beside the equation, and the engine's own words."""

    facts: tuple[tuple[str, str], ...]
    engine_words: str
    #: What the engine would have printed of the mismatch, and when and how it would have died.
    engine_message: str | None
    died: str | None
    died_message: str | None
    #: Faults and requests on one line each, as an overview has them.
    faults: str
    requests: str


def make_counted(evidence: Evidence) -> Counted:
    """What was counted of a recording."""
    summary = evidence.summary
    return Counted(
        facts=make_facts(evidence),
        engine_words=engine_words(evidence),
        engine_message=None if summary["mismatch"] is None else summary["engine_message"],
        died=_died(evidence),
        died_message=summary["engine_died_message"],
        faults=fault_words(summary["faults"]),
        requests=request_words(summary["requests"]),
    )


def _died(evidence: Evidence) -> str | None:
    """When and where the real engine would have died; None where it lives."""
    died_us = evidence.summary["engine_died_us"]
    if died_us is None:
        return None
    return f"at {seconds(died_us)} of virtual time, in {evidence.run['engine']['died_pool']}"


def make_facts(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    """What stands beside the equation, as name and value."""
    summary = evidence.summary
    facts = []
    if summary["kinds"]:
        facts.append(("Pages by kind", by_count(summary["kinds"])))
    if summary["mismatch"] is not None:
        final = summary["final_gap"]
        facts += [
            (
                "Gap left after healing",
                f"{counted(final['pages'], 'page')} in {counted(len(final['pools']), 'pool')}",
            ),
            (
                "Episodes",
                f"{number(summary['episodes'])}, "
                f"{number(summary['episodes_open'])} of them never closed",
            ),
        ]
    oracles = summary["oracles"]
    return (
        *facts,
        ("Requests", request_words(summary["requests"])),
        ("Faults", fault_words(summary["faults"])),
        (
            "Oracles",
            f"counts: {counted(oracles['count'], 'gap')}; page ledger: "
            f"{counted(oracles['ledger'], 'violation')}; page contents: "
            f"{counted(oracles['contents'], 'wrong page')}; liveness: "
            f"{counted(oracles['liveness'], 'request')} never ended"
            + "".join(
                f"; {name}: {number(oracles[name])}" for name in oracles if name not in _TOLD
            ),
        ),
        (
            "Audits",
            f"{number(summary['audits'])} over {seconds(summary['virtual_us'])} of virtual time",
        ),
    )


def engine_words(evidence: Evidence) -> str:
    """Whether the engine's own check ran, ran while a gap was open, and said something."""
    audits = evidence.tables["audits"]
    ran = audits.filter(pc.not_equal(audits["engine_check"], "none"))
    during = pc.sum(pc.not_equal(ran["gap"], 0)).as_py() or 0
    fired = pc.sum(pc.equal(ran["engine_check"], "fired")).as_py() or 0
    times = f"{counted(ran.num_rows, 'time')}, {number(during)} of them while its pool had a gap"
    if fired:
        return f"The engine's own check ran {times}, and fired {counted(fired, 'time')}."
    return f"The engine's own check ran {times}, and never fired."


def fault_words(faults: dict[str, int]) -> str:
    """How many faults landed, and the rules that did nothing."""
    if not faults["planned"] and not faults["never_fired"]:
        return "none planned"
    text = f"{number(faults['landed'])} landed of {number(faults['planned'])} planned"
    if faults["never_fired"]:
        text += f"; {counted(faults['never_fired'], 'rule')} never fired"
    if faults["without_effect"]:
        text += f"; {counted(faults['without_effect'], 'rule')} without effect"
    return text


def request_words(counts: dict[str, int]) -> str:
    """What became of the requests."""
    named = [f"{number(counts['finished'])} finished"]
    named += [
        f"{number(counts[state])} {state}"
        for state in ("aborted", "failed", "stuck")
        if counts[state]
    ]
    return f"{', '.join(named)}, of {number(counts['total'])}"


COUNTED = Part("counted", lambda context: make_counted(context.evidence), link="Counts")
