"""A completion event, and what a fault did to it, in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from replay.recording.kinds import Outcome

if TYPE_CHECKING:
    from replay.recording.events import EventFact


def seconds(time_us: int) -> str:
    """A moment or a length of virtual time, in milliseconds where it is shorter than a hundred."""
    return f"{time_us / 1e3:g} ms" if abs(time_us) < 100_000 else f"{time_us / 1e6:.3f} s"


def counted(count: int, noun: str) -> str:
    """A count and its noun, with an s where there is not exactly one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def name_of_event(event: EventFact) -> str:
    """Which event it is: its direction, its room and the ranks it goes between."""
    if event.is_aimed:
        return f"room {event.bootstrap_room}"
    if event.direction == "prefill":
        return (
            f"the acknowledgement of room {event.bootstrap_room} to prefill TP "
            f"{event.prefill_tp_rank}"
        )
    to = f" to decode TP {event.decode_tp_rank}" if event.decode_tp_rank > 0 else ""
    return (
        f"the completion of room {event.bootstrap_room} from prefill TP {event.prefill_tp_rank}{to}"
    )


def what_a_fault_did(event: EventFact) -> str:
    """What became of an event that a rule touched, as the rest of a sentence about it."""
    name, came = name_of_event(event), seconds(event.came_us)
    faults = (event.fault or "").split(" + ")
    if event.is_aimed:
        return _aimed(event, faults[0])
    if event.outcome is Outcome.LOST:
        return f"{name} was dropped at {seconds(event.sent_us)}"
    if event.delivered_us is None:
        return f"{name}, sent at {seconds(event.sent_us)}, had not arrived when the replay ended"
    late = seconds(event.delivered_us - event.due_us)
    told = {
        "delay": f"{name} came {late} late, at {came}",
        "reorder": f"{name} was overtaken by others and came {late} late, at {came}",
        "duplicate": f"{name} came again at {came}" if event.copy else f"{name} came at {came}",
        "stale": f"{name} came again at {came}, after others had been given what it names"
        if event.copy
        else f"{name} came at {came}",
        "early": f"{name} came at {came}, before its bytes, which landed at "
        f"{seconds(event.sent_us)}",
        "misroute": f"{name} went astray at {came}",
        "fail": f"{name} reported at {came} that the transfer had failed",
        "partial": f"{name} came at {came}, without those of other ranks",
    }
    words = next((told[fault] for fault in faults if fault in told), f"{name} came at {came}")
    return words if event.was_taken else f"{words} ({event.result})"


def what_happened(event: EventFact) -> str:
    """What became of any event, whether a rule touched it or not."""
    if event.rule is not None:
        return what_a_fault_did(event)
    name = name_of_event(event)
    if event.delivered_us is None:
        return f"{name} had not arrived when the replay ended"
    failed = " and said that the transfer had failed" if event.failed else ""
    return f"{name} came at {seconds(event.delivered_us)}{failed}: {event.result}"


def place_words(pool: str, instances: int) -> str:
    """A pool as people say it: `decode0/dp3` is decode DP 3, with the instance where there are more."""
    found = re.fullmatch(r"(decode|prefill)(\d+)/dp(\d+)", pool)
    if found is None:
        return pool
    side, instance, dp_rank = found.groups()
    return f"{side} {f'{instance} ' if instances > 1 else ''}DP {dp_rank}"


def _aimed(event: EventFact, fault: str) -> str:
    name, came = name_of_event(event), seconds(event.came_us)
    if event.delivered_us is None:
        return f"the {fault} aimed at {name} had not come when the replay ended"
    if fault == "abort":
        return f"the client of {name} went away at {came} ({event.result})"
    return f"the timeout of {name} ended at {came} ({event.result})"
