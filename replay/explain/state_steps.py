"""What the row of a request says of its states, as steps, and each state in words."""

from __future__ import annotations

from collections.abc import Iterator

from replay.explain.gap_steps import counted
from replay.explain.request_facts import RequestFacts
from replay.explain.steps import Order, Step

#: What a state means, by its name as faults are aimed at it (`faults.events.RequestState`).
STATE_WORDS = {
    "bootstrap": "arrives, and waits for decode's pages",
    "prefill-waiting": "waits for its prompt's turn",
    "prefilling": "its prompt is being computed",
    "in-flight": "its prompt is computed, and held until it is acknowledged",
    "prealloc": "waits for pages",
    "transfer": "has its pages, and prefill is told which",
    "moving": "its bytes begin to move",
    "landed": "its last bytes land",
    "waiting": "its KV is here, and it waits for the running batch",
    "running": "decodes",
    "retracted": "gives its pages back until there is more room",
    "deferred": "is given up, and its pages are kept until nobody writes them",
}

#: How each side can end, and whether a healthy life ends so.
END_WORDS = {
    "finished": ("ends: finished", True),
    "aborted": ("ends: aborted", False),
    "failed": ("ends: its transfer failed", False),
    "lost": ("is forgotten, with the pages it holds", False),
    "done": ("its prompt was taken; prefill is done with it", True),
    "dropped": ("its prompt is dropped", False),
}

#: Column of requests.parquet -> (side, state that begins then).
_TIMES = {
    "preallocated_us": ("decode", "transfer"),
    "prefill_start_us": ("prefill", "prefilling"),
    "transfer_start_us": ("decode", "moving"),
    "landed_us": ("decode", "landed"),
    "consumed_us": ("decode", "waiting"),
    "running_us": ("decode", "running"),
}
_AFTER = frozenset({"waiting", "running", "retracted", "deferred"})


def arrival_step(facts: RequestFacts) -> Step:
    """When the request came, and how large it is."""
    row = facts.row
    what = (
        f"arrives: {counted(row['input_tokens'], 'prompt token')} "
        f"({counted(row['prompt_pages'], 'page')}), "
        f"{counted(row['output_tokens'], 'output token')}; it goes to {row['prefill_pool']} and "
        f"{row['decode_pool']}"
    )
    return Step(time_us=row["arrival_us"], order=Order.ARRIVAL, kind="arrival", where="", what=what)


def row_steps(facts: RequestFacts) -> Iterator[Step]:
    """The states whose times requests.parquet holds, in no particular order."""
    row = facts.row
    for column, (side, state) in _TIMES.items():
        if row[column] >= 0:
            where = row[f"{side}_pool"]
            yield state_step(state, row[column], where)
    # Recordings made before these columns were have neither.
    gave_up_us, prefill_ended_us = row.get("gave_up_us", -1), row.get("prefill_ended_us", -1)
    if gave_up_us >= 0 and gave_up_us != row["ended_us"]:
        yield state_step("deferred", gave_up_us, row["decode_pool"])
    if prefill_ended_us >= 0 and row["prefill_state"] in END_WORDS:
        yield end_step(row["prefill_state"], prefill_ended_us, row["prefill_pool"])
    if row["ended_us"] >= 0:
        yield end_step(row["decode_state"], row["ended_us"], row["decode_pool"])


def unended_steps(facts: RequestFacts) -> Iterator[Step]:
    """What either side still had when the replay ended."""
    row = facts.row
    for side, words in (("prefill", "prefill"), ("decode", "decode")):
        state = row[f"{side}_state"]
        if state not in END_WORDS and not (state == "absent" and row["ended_us"] < 0):
            what = f"{words} still has it ({state}) when the replay ends"
        elif state == "absent":
            what = "decode had not been offered it when the replay ends"
        else:
            continue
        yield Step(
            time_us=max(facts.end_us, row["arrival_us"]),
            order=Order.GAP,
            kind="end",
            where=row[f"{side}_pool"],
            what=what,
            departs=True,
            # After whatever an audit saw then.
            sequence=1 << 62,
        )


def state_step(state: str, time_us: int, where: str, sequence: int = 0) -> Step:
    """A request comes into a state."""
    is_bytes = state in ("moving", "landed")
    return Step(
        time_us=time_us,
        order=Order.AFTER if state in _AFTER else Order.BEFORE,
        kind="bytes" if is_bytes else "state",
        where=where,
        what=STATE_WORDS[state] + ("" if is_bytes else f" ({state})"),
        departs=state == "deferred",
        sequence=sequence,
    )


def end_step(state: str, time_us: int, where: str, sequence: int = 0) -> Step:
    """One side is done with a request."""
    words, is_healthy = END_WORDS[state]
    return Step(
        time_us=time_us,
        order=Order.END,
        kind="end",
        where=where,
        what=words,
        departs=not is_healthy,
        sequence=sequence,
    )
