"""A rule of a fault plan in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from faults.chance import LogNormal, Uniform
from faults.kinds.registry import KINDS
from faults.rule import FIELDS, CopyDelay, FaultRule, read_rule, type_of, words_in
from replay.recording.words import seconds
from reports.words import number
from traces.text import shortened

#: Values of a list that are named, and characters of each.
_NAMED_MAX = 3
_VALUE_MAX = 60

#: Key of a list -> what stands before its values.
_LISTS = {
    "request_ids": "of request",
    "session_ids": "of session",
    "pools": "at",
    "dp_ranks": "at DP rank",
    "prefill_tp_ranks": "of prefill TP rank",
    "decode_tp_ranks": "of decode TP rank",
    "states": "sent while the receiver has the request in state",
}
_SCOPES = {
    "rule": "",
    "request": " of each request",
    "session": " of each session",
    "rank": " at each rank",
}


def recorded_rule(document: Mapping[str, Any]) -> FaultRule:
    """A rule of run.json, as far as this version knows its keys."""
    return read_rule({key: value for key, value in document.items() if key in FIELDS})


def is_aimed(rule: FaultRule) -> bool:
    """Whether it acts on a request in a state rather than on events."""
    return rule.fault in KINDS and KINDS[rule.fault].is_aimed


def selection(rule: FaultRule) -> str:
    """Which events or states it is about."""
    if is_aimed(rule):
        said = [f"requests that come into state {rule.when or 'of no name'}"]
    elif rule.direction == "prefill":
        said = ["acknowledgements, told to prefill"]
    else:
        said = ["completions, told to decode"]
    for key, words in _LISTS.items():
        if values := getattr(rule, key):
            said.append(f"{words} {some(sorted(values))}")
    said += _window(rule)
    if burst := rule.burst:
        whose = "all ranks together" if burst.hits == "all" else "each rank on its own"
        said.append(
            f"in windows of {seconds(burst.length_us)} in every {seconds(burst.every_us)}, {whose}"
        )
    if rule.occurrences:
        which = some([ordinal(each) for each in sorted(rule.occurrences)])
        said.append(f"only the {which}{_SCOPES.get(rule.occurrences_per, '')}")
    if rule.probability < 1:
        said.append(f"each with probability {rule.probability:g}")
    return ", ".join(said)


def action(rule: FaultRule) -> str:
    """What it does to them; only its name where another version of kvreplay knows more."""
    if rule.fault not in KINDS or not _has_known_words(rule):
        return rule.fault
    return with_values(KINDS[rule.fault].in_words(rule), rule)


def with_values(text: str, rule: FaultRule) -> str:
    """A text about a rule in which its keys stand in braces, with their values."""
    return text.format_map({key: _value(rule, key) for key in KINDS[rule.fault].keys})


def _value(rule: FaultRule, key: str) -> str:
    value = getattr(rule, key)
    if key.endswith("_us"):
        return duration(value)
    return number(value) if isinstance(value, int) else str(value)


def duration(value: CopyDelay | None) -> str:
    """A length of time as a plan gives it: a number, several, or a distribution."""
    if isinstance(value, tuple):
        return some([seconds(each) for each in value])
    if isinstance(value, Uniform):
        return f"{seconds(value.low_us)} to {seconds(value.high_us)}"
    if isinstance(value, LogNormal):
        return f"a time of which half are below {seconds(value.median_us)}"
    return seconds(value or 0)


def ordinal(count: int) -> str:
    """1st, 2nd, 3rd, 4th."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{number(count)}{'th' if count % 100 in (11, 12, 13) else ending}"


def some(values: Sequence[object]) -> str:
    """The first values of a list, and how many more there are."""
    named = ", ".join(shortened(str(value), _VALUE_MAX) for value in values[:_NAMED_MAX])
    more = len(values) - _NAMED_MAX
    return f"{named} and {number(more)} more" if more > 0 else named


def _has_known_words(rule: FaultRule) -> bool:
    values = {key: getattr(rule, key) for key in KINDS[rule.fault].keys}
    known = {key: words_in(type_of(key)) for key in values}
    return all(values[key] in (None, *known[key]) for key in values if known[key])


def _window(rule: FaultRule) -> Iterator[str]:
    after_us, before_us = rule.after_us, rule.before_us
    if after_us is not None and before_us is not None:
        yield f"between {seconds(after_us)} and {seconds(before_us)}"
    elif after_us is not None:
        yield f"from {seconds(after_us)} on"
    elif before_us is not None:
        yield f"before {seconds(before_us)}"
