"""What was counted, in words: the facts beside the equation, and what the engine itself would have said."""

from __future__ import annotations

from reports.evidence import Evidence
from reports.words import by_count, counted, number, seconds


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
                "Left when healing ended",
                f"{counted(final['pages'], 'page')} in {counted(len(final['pools']), 'pool')}",
            ),
            (
                "Episodes",
                f"{number(summary['episodes'])}, of which "
                f"{number(summary['episodes_open'])} never closed",
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
            f"{counted(oracles['liveness'], 'request')} never ended",
        ),
        (
            "Audits",
            f"{number(summary['audits'])} over {seconds(summary['virtual_us'])} of virtual time",
        ),
    )


def engine_words(evidence: Evidence) -> str:
    """Whether the engine's own check ran, ran while a gap was open, and said something."""
    import pyarrow.compute as pc

    audits = evidence.tables["audits"]
    ran = audits.filter(pc.not_equal(audits["engine_check"], "none"))
    during = pc.sum(pc.not_equal(ran["gap"], 0)).as_py() or 0
    fired = pc.sum(pc.equal(ran["engine_check"], "fired")).as_py() or 0
    times = f"{counted(ran.num_rows, 'time')}, {number(during)} of them while its pool had a gap"
    if fired:
        return f"The engine's own check ran {times}, and fired {counted(fired, 'time')}."
    return f"The engine's own check ran {times}, and stayed silent."


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
