"""The words of a plan file beside the fault kinds, as `kvreplay faults` lists them."""

from __future__ import annotations

import typing

from faults.plan_file import KEYS_ABOUT_EVENTS, KEYS_OF_FAULT, RuleEntry
from faults.rule import AIMED_FAULTS, FaultKind

#: What the rules that hit one event do to it together, in this order.
ORDER_OF_COMBINATION: tuple[tuple[str, str], ...] = (
    (
        "early",
        "decided when the last bytes set out; the event is then there, and only copies follow",
    ),
    ("drop, partial", "nothing is delivered any more, whatever the other rules say"),
    ("misroute", "every delivery arrives elsewhere; the first such rule of the plan says where"),
    ("fail", "every delivery says that the transfer failed"),
    (
        "delay, reorder",
        "delays add up; a held delivery waits until all its conditions hold, and then as long",
    ),
    ("duplicate, stale", "as many copies as all of them ask for, each after the delayed original"),
)

#: How a time can be given, and what it then is.
DURATION_FORMS: dict[str, str] = {
    "500_000": "always as many microseconds",
    "{ uniform = [1_000, 500_000] }": "drawn for each event, each time as likely as any other",
    "{ lognormal = { median_us = 50_000, sigma = 1.5, max_us = 9_000_000 } }": (
        "drawn for each event: half are shorter than the median, a few much longer"
    ),
}


def keys_of(fault: FaultKind) -> dict[str, str]:
    """The keys that say what a fault does, each with its meaning; those it must have come first."""
    uses = KEYS_OF_FAULT[fault]
    return {
        **{key: f"{meaning_of(key)} (must be given)" for key in sorted(uses.must)},
        **{key: meaning_of(key) for key in sorted(uses.may)},
    }


def triggers(fault: FaultKind | None = None) -> dict[str, str]:
    """The keys that say which events a rule hits, or a rule of one fault, each with its meaning."""
    of_faults = set().union(*(keys.must | keys.may for keys in KEYS_OF_FAULT.values()))
    refused = KEYS_ABOUT_EVENTS if fault in AIMED_FAULTS else ()
    return {
        key: meaning_of(key)
        for key in RuleEntry.model_fields
        if key not in of_faults and key not in ("name", "fault", *refused)
    }


def meaning_of(key: str) -> str:
    """What a key of a rule means, as editors show it too, and the words that it takes."""
    field = RuleEntry.model_fields[key]
    words = _words_of(field.annotation)
    meaning = field.description or ""
    if not words or any(word in meaning for word in words[1:]):
        return meaning
    return f"{meaning}: {', '.join(words)}"


def _words_of(annotation: object) -> list[str]:
    """The words of the `Literal` in a key's type, if there is one."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return [word for word in arguments if isinstance(word, str)]
    return [word for argument in arguments for word in _words_of(argument)]
