"""A completion event, what a fault did to it, and a broken equation, in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from faults.kinds.registry import kinds_in
from replay.recording.kinds import Outcome

if TYPE_CHECKING:
    from replay.recording.events import EventFact


def seconds(time_us: int) -> str:
    """A moment or a length of virtual time, in milliseconds where it is shorter than a hundred."""
    return f"{time_us / 1e3:g} ms" if abs(time_us) < 100_000 else f"{time_us / 1e6:.3f} s"


def number(value: int) -> str:
    """A whole number with thousands separators and a real minus sign."""
    return f"{value:,}".replace("-", "\N{MINUS SIGN}")


def counted(count: int, noun: str) -> str:
    """A count and its noun, with an s where there is not exactly one: 34,048 pages."""
    return f"{number(count)} {noun}{'' if abs(count) == 1 else 's'}"


def equation(mismatch: Mapping[str, Any]) -> str:
    """Both sides of the broken equation and the gap in whole pages, on one line."""
    names = ["available", "evictable", "protected"]
    # In a busy moment part of the pool is in use, which a quiet one leaves out of the equation.
    names += [name for name in ("live", "in_transfer") if mismatch[name]]
    terms = " + ".join(f"{name.replace('_', ' ')} {mismatch[name]}" for name in names)
    return (
        f"{mismatch['pool']}: {terms} = {sum(mismatch[name] for name in names)}, "
        f"total {mismatch['total']}: gap {mismatch['gap']} tokens = {mismatch['pages']} pages of "
        f"{mismatch['page_size']}"
    )


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
    kinds = kinds_in(event.fault)
    if event.is_aimed and event.delivered_us is None:
        return f"the {event.fault} aimed at {name} had not come when the replay ended"
    if event.outcome is Outcome.LOST:
        return f"{name} was dropped at {seconds(event.sent_us)}"
    if event.delivered_us is None:
        return f"{name}, sent at {seconds(event.sent_us)}, had not arrived when the replay ended"
    words = f"{name} came at {came}"
    if kinds:
        told = kinds[0].told_of_copy if event.copy else kinds[0].told
        late = seconds(event.delivered_us - event.due_us)
        words = told.format(name=name, sent=seconds(event.sent_us), came=came, late=late)
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
