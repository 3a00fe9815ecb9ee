"""The life of one request, from the tables of a recording and, finer, from a watched replay."""

from __future__ import annotations

from collections.abc import Iterator

from replay.explain.event_steps import event_steps
from replay.explain.gap_steps import counted, gap_steps, read_step
from replay.explain.request_facts import RequestFacts
from replay.explain.sighting_steps import sighting_steps
from replay.explain.sightings import Sighted
from replay.explain.state_steps import arrival_step, row_steps, unended_steps
from replay.explain.steps import Life, Step, first_departure, in_order
from replay.recording.kinds import DECODE_ENDS, ENDS
from replay.recording.words import seconds

#: (decode state, prefill state) of a request that was served.
_WELL = ("finished", "done")


def request_life(facts: RequestFacts, sighted: Sighted | None = None, note: str = "") -> Life:
    """Tell the life of a request.

    Args:
        facts: what the tables hold.
        sighted: what a watched replay saw of it; its states and pages then come from there.
        note: what could not be said, and why.
    """
    steps = in_order(_steps(facts, sighted))
    blame = first_departure(steps)
    return Life(
        subject="request",
        name=facts.request_id,
        headline=_headline(facts, steps, None if blame is None else steps[blame]),
        facts=_facts(facts),
        steps=steps,
        blame=blame,
        source="recording" if sighted is None else "replay",
        note=note,
    )


def _steps(facts: RequestFacts, sighted: Sighted | None) -> Iterator[Step]:
    row = facts.row
    sender = {"decode": row.prefill_pool, "prefill": row.decode_pool}
    yield arrival_step(facts)
    yield from row_steps(facts) if sighted is None else sighting_steps(sighted)
    yield from event_steps(facts.events, sender)
    yield from event_steps(facts.events_of_others, sender, foreign=True)
    for stay in facts.stays:
        yield from gap_steps(stay)
    yield from map(read_step, facts.reads)
    yield from unended_steps(facts)


def _headline(facts: RequestFacts, steps: tuple[Step, ...], departure: Step | None) -> str:
    """One sentence: how the request ended, and what went wrong first."""
    row = facts.row
    outcome = [_ending(facts)]
    if row.prefill_state not in ENDS:
        outcome.append("prefill never let go of its prompt")
    for stay in facts.stays:
        if stay["closed_audit"] is None:
            outcome.append(_lasting(stay["pages"], facts.place(stay["pool"])))
    if wrong := sum(read["wrong_pages"] for read in facts.reads):
        outcome.append(f"it read {counted(wrong, 'page')} that held other bytes than its own")
    if departure is None and any(step.rule is not None for step in steps):
        outcome.append("the faults that touched it made no difference")
    elif departure is None:
        outcome.append("nothing in its life is out of the ordinary")
    told = outcome[0] if len(outcome) == 1 else f"{', '.join(outcome[:-1])} and {outcome[-1]}"
    if departure is None:
        return f"It {told}."
    rule = f" (rule {departure.rule!r})" if departure.rule else ""
    blame = departure.blame or f"at {seconds(departure.time_us)} {departure.what}"
    is_well = len(outcome) == 1 and (row.decode_state, row.prefill_state) == _WELL
    return f"It {told}{', although ' if is_well else ': '}{blame}{rule}."


def _ending(facts: RequestFacts) -> str:
    row = facts.row
    if row.decode_state in DECODE_ENDS:
        return f"{DECODE_ENDS[row.decode_state].sentence} at {seconds(row.ended_us)}"
    return "never ended"


def _lasting(pages: int, place: str) -> str:
    if pages > 0:
        return f"{counted(pages, 'page')} on {place} never left the gap"
    return f"{counted(-pages, 'page')} too many stayed free on {place}"


def _facts(facts: RequestFacts) -> tuple[tuple[str, str], ...]:
    row = facts.row
    return (
        ("prefill", f"{row.prefill_pool}, {row.prefill_state}"),
        ("decode", f"{row.decode_pool}, {row.decode_state}"),
        ("bootstrap room", str(row.bootstrap_room)),
        ("prompt", f"{row.input_tokens:,} tokens, {row.prompt_pages:,} pages"),
        ("output", f"{row.output_tokens:,} tokens"),
        ("cycle", str(row.cycle)),
    )
