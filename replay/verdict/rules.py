"""Which of the four verdicts it is, and why, in one sentence.

The first rule that has something to say wins: wrong bytes, gaps that stay, requests that never end,
pages of the wrong owners, then what makes a replay worthless as a test, and last that all is well.
"""

from __future__ import annotations

from typing import Any

from replay.recording.words import counted
from replay.verdict.episodes import Episode
from replay.verdict.oracles import Findings


def decide(
    run: dict[str, Any], episodes: tuple[Episode, ...], findings: Findings
) -> tuple[str, str]:
    """The verdict and one sentence that says why."""
    if run["stopped_early"]:
        return "persistent" if _any_stuck(episodes) else "inconclusive", (
            "the replay stopped where the engine would have died"
        )
    # What a repeat cycle closes was still open when healing ended: it came too late to count.
    open_ones = tuple(each for each in episodes if each.is_open or each.closed_too_late)
    return (
        _wrong_contents(findings)
        or _open_gaps(open_ones)
        or _never_ended(findings, run["budget_exhausted"])
        or _never_ended_in_cycles(findings, run["pending_at_end"])
        or _wrong_owners(findings)
        or _nothing_to_go_by(run, findings)
        or _all_well(episodes, findings)
    )


def _wrong_contents(findings: Findings) -> tuple[str, str] | None:
    if findings.content_pages:
        pages = findings.content_pages
        return (
            "persistent",
            f"decode read {counted(pages, 'page')} that held other bytes than its own",
        )
    if findings.wrong_first_tokens:
        count = findings.wrong_first_tokens
        return "persistent", (
            f"decode took {counted(count, 'first token')} from buffers that were not its own"
        )
    return None


def _open_gaps(open_ones: tuple[Episode, ...]) -> tuple[str, str] | None:
    if _any_stuck(open_ones):
        pages = sum(
            abs(owner.pages)
            for episode in open_ones
            for owner in episode.owners
            if owner.closed_audit is None
        )
        return (
            "persistent",
            f"{counted(pages, 'page')} still unaccounted for when nothing was left to come",
        )
    if open_ones:
        return "inconclusive", "the heal budget ended before what is under way could close the gap"
    return None


def _never_ended(findings: Findings, budget_exhausted: bool) -> tuple[str, str] | None:
    stuck = findings.requests["stuck"]
    if not stuck and not findings.prefill_stuck:
        return None
    if budget_exhausted:
        return "inconclusive", "the heal budget ended while requests were still under way"
    if stuck:
        return (
            "persistent",
            f"{counted(stuck, 'request')} never ended, although no page is missing",
        )
    return (
        "persistent",
        f"{counted(findings.prefill_stuck, 'request')} never ended on the prefill side, although "
        "no page is missing",
    )


def _never_ended_in_cycles(findings: Findings, pending_at_end: bool) -> tuple[str, str] | None:
    """What the inject phase has left behind can wedge those that come later."""
    if not findings.stuck_in_cycles:
        return None
    if pending_at_end:
        return "inconclusive", "the replay ended while requests of a clean cycle were under way"
    count = counted(findings.stuck_in_cycles, "request")
    return "persistent", f"{count} of the clean cycles never ended, although no page is missing"


def _wrong_owners(findings: Findings) -> tuple[str, str] | None:
    ledger = findings.ledger
    parts = (
        (ledger.acquired_while_owned, "given out while somebody owned them"),
        (ledger.released_by_another, "released by another than their owner"),
        (ledger.written_by_another, "written by a transfer after they were released"),
        (ledger.read_by_another, "read by a transfer after they were released"),
        (
            ledger.slots_written_by_another,
            "first-token buffers, written after they were given back",
        ),
    )
    if not ledger.total:
        return None
    told = ", ".join(f"{pages} {what}" for pages, what in parts if pages)
    return "persistent", f"every count balances, but pages were not their owner's: {told}"


def _nothing_to_go_by(run: dict[str, Any], findings: Findings) -> tuple[str, str] | None:
    """Why a replay whose gaps all closed does not tell how the real engine would have fared."""
    if findings.died_us is not None and findings.died_message is not None:
        words = findings.died_message.split("\n")[0]
        false = "on a false alarm, " if findings.false_alarm_pages else ""
        return (
            "inconclusive",
            f"the real engine would have died at {findings.died_us / 1e6:.3f} s, {false}with the "
            f"words: {words}",
        )
    for silent, what in (
        (run["faults"]["never_fired"], "never fired"),
        (run["faults"]["without_effect"], "fired, and no engine could see any of it"),
    ):
        if silent:
            rules = "rule" if len(silent) == 1 else "rules"
            names = ", ".join(repr(name) for name in silent)
            return "inconclusive", f"nothing was tested: the {rules} {names} {what}"
    if not findings.requests["total"]:
        return "inconclusive", "nothing was tested: the trace has no requests"
    return None


def _all_well(episodes: tuple[Episode, ...], findings: Findings) -> tuple[str, str]:
    if episodes:
        return "transient", "the gap closed" if len(episodes) == 1 else (
            f"all {len(episodes)} gaps closed"
        )
    if findings.false_alarm_pages:
        return "transient", "the engine's own check warned, though every page had a live owner"
    return "clean", "every page was accounted for in every audit"


def _any_stuck(episodes: tuple[Episode, ...]) -> bool:
    return any(episode.is_open and not episode.could_close for episode in episodes)
