"""What the row of a request says of its states, as steps."""

from __future__ import annotations

from collections.abc import Iterator

from replay.explain.gap_steps import counted
from replay.explain.request_facts import RequestFacts
from replay.explain.steps import Order, Step
from replay.recording.kinds import ENDS, STATES
from replay.recording.requests import SIDES, Side

#: States of the bytes, which decode is in while it waits for them.
_BYTES = frozenset({"moving", "landed"})
_AFTER = frozenset({"waiting", "running", "retracted", "deferred"})


def arrival_step(facts: RequestFacts) -> Step:
    """When the request came, and how large it is."""
    row = facts.row
    what = (
        f"arrives: {counted(row.input_tokens, 'prompt token')} "
        f"({counted(row.prompt_pages, 'page')}), "
        f"{counted(row.output_tokens, 'output token')}; it goes to {row.prefill_pool} and "
        f"{row.decode_pool}"
    )
    return Step(time_us=row.arrival_us, order=Order.ARRIVAL, kind="arrival", where="", what=what)


def row_steps(facts: RequestFacts) -> Iterator[Step]:
    """The states that the row of a request says it passed, and its bytes, in no particular order."""
    row = facts.row
    for side in SIDES:
        for stay in row.stays(side):
            if stay.state not in _BYTES:
                yield state_step(stay.state, stay.start_us, row.pool(side))
    # Bytes move and land whatever state the request is in by then.
    for state, time_us in (("moving", row.transfer_start_us), ("landed", row.landed_us)):
        if time_us >= 0:
            yield state_step(state, time_us, row.decode_pool)
    ended: dict[Side, int] = {"prefill": row.prefill_ended_us, "decode": row.ended_us}
    for side, time_us in ended.items():
        if time_us >= 0:
            yield end_step(row.state(side), time_us, row.pool(side))


def unended_steps(facts: RequestFacts) -> Iterator[Step]:
    """What either side still had when the replay ended."""
    row = facts.row
    for side in SIDES:
        state = row.state(side)
        if state not in ENDS and not (state == "absent" and row.ended_us < 0):
            what = f"{side} still has it ({state}) when the replay ends"
        elif state == "absent":
            what = "decode had not been offered it when the replay ends"
        else:
            continue
        yield Step(
            time_us=max(facts.end_us, row.arrival_us),
            order=Order.GAP,
            kind="end",
            where=row.pool(side),
            what=what,
            departs=True,
            # After whatever an audit saw then.
            sequence=1 << 62,
        )


def state_step(state: str, time_us: int, where: str, sequence: int = 0) -> Step:
    """A request comes into a state."""
    is_bytes = state in _BYTES
    return Step(
        time_us=time_us,
        order=Order.AFTER if state in _AFTER else Order.BEFORE,
        kind="bytes" if is_bytes else "state",
        where=where,
        what=STATES[state].begins + ("" if is_bytes else f" ({state})"),
        departs=state == "deferred",
        sequence=sequence,
    )


def end_step(state: str, time_us: int, where: str, sequence: int = 0) -> Step:
    """One side is done with a request."""
    words = ENDS[state]
    return Step(
        time_us=time_us,
        order=Order.END,
        kind="end",
        where=where,
        what=words.step,
        departs=not words.is_healthy,
        sequence=sequence,
    )
