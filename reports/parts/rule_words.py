"""A rule of a fault plan in words, from its document in run.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from faults.rule import AIMED_FAULTS, CONDITION_MEANINGS
from replay.recording.words import seconds
from reports.words import counted, number
from traces.text import shortened

#: Values of a list that are named, and characters of each.
_NAMED_MAX = 3
_VALUE_MAX = 60

_ELSEWHERE = {
    "kind": "as an event of the other kind",
    "rank": "at the next DP rank",
    "room": "for the next room of their receiver",
}

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


def selection(rule: Mapping[str, Any]) -> str:
    """Which events or states it is about."""
    if rule["fault"] in AIMED_FAULTS:
        said = [f"requests that come into state {rule.get('when', 'of no name')}"]
    elif rule.get("direction") == "prefill":
        said = ["acknowledgements, told to prefill"]
    else:
        said = ["completions, told to decode"]
    said += [f"{words} {_some(rule[key])}" for key, words in _LISTS.items() if rule.get(key)]
    said += _window(rule)
    if burst := rule.get("burst"):
        whose = "all ranks together" if burst.get("hits") == "all" else "each rank on its own"
        said.append(
            f"in windows of {seconds(burst['length_us'])} in every {seconds(burst['every_us'])}, "
            f"{whose}"
        )
    if numbers := rule.get("occurrences"):
        which = _some([ordinal(each) for each in numbers])
        said.append(f"only the {which}{_SCOPES.get(rule.get('occurrences_per', 'rule'), '')}")
    if (probability := rule.get("probability", 1.0)) < 1:
        said.append(f"each with probability {probability:g}")
    return ", ".join(said)


def action(rule: Mapping[str, Any]) -> str:
    """What it does to them."""
    told = {
        "drop": "lost on their way",
        "delay": f"held back {_held_back(rule)}",
        "duplicate": f"delivered, and then again {_copies(rule)}",
        "reorder": f"held back for a random part of {seconds(rule.get('window_us', 0))}, so that "
        "later ones overtake them",
        "misroute": f"delivered {_ELSEWHERE.get(rule.get('to', 'kind'), 'elsewhere')}",
        "early": f"delivered before their bytes have landed{_early(rule)}",
        "partial": f"lost but for those of {counted(rule.get('keep', 1), 'TP rank')} of each transfer",
        "fail": "delivered on time as failures, and the bytes never land",
        "stale": f"delivered, and once more {_held_back(rule)}",
        "abort": f"the client goes away{_aimed(rule)}",
        "timeout": f"the engine's own timeout ends{_aimed(rule)}",
    }
    return told.get(rule["fault"], str(rule["fault"]))


def _held_back(rule: Mapping[str, Any]) -> str:
    """For how long, and until what."""
    until, delay = rule.get("until"), rule.get("delay_us", 0)
    if rule["fault"] == "stale":
        until = until or "pages-reused"
    if until in CONDITION_MEANINGS:
        after = (
            f"{duration(delay)} after "
            if delay
            else "when "
            if rule["fault"] == "stale"
            else "until "
        )
        return f"{after}{CONDITION_MEANINGS[until]}"
    return f"for {duration(delay)}"


def _copies(rule: Mapping[str, Any]) -> str:
    apart = duration(rule.get("copy_delay_us", 1_000))
    if (copies := rule.get("copies", 1)) == 1:
        return f"{apart} later"
    return f"{number(copies)} times, {apart} apart"


def _early(rule: Mapping[str, Any]) -> str:
    early_us = rule.get("early_us")
    return (
        ", when the last of them set out" if early_us is None else f", by up to {seconds(early_us)}"
    )


def _aimed(rule: Mapping[str, Any]) -> str:
    delay = rule.get("delay_us", 0)
    return f" {duration(delay)} later, if it still is in that state" if delay else " at once"


def duration(value: Any) -> str:
    """A length of time as a plan gives it: a number, several, or a distribution."""
    if isinstance(value, int):
        return seconds(value)
    if isinstance(value, list):
        return _some([seconds(each) for each in value])
    if isinstance(value, Mapping) and "low_us" in value:
        return f"{seconds(value['low_us'])} to {seconds(value['high_us'])}"
    if isinstance(value, Mapping) and "median_us" in value:
        return f"a time of which half are below {seconds(value['median_us'])}"
    return "a time"


def ordinal(count: int) -> str:
    """1st, 2nd, 3rd, 4th."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{number(count)}{'th' if count % 100 in (11, 12, 13) else ending}"


def _window(rule: Mapping[str, Any]) -> list[str]:
    after_us, before_us = rule.get("after_us"), rule.get("before_us")
    if after_us is not None and before_us is not None:
        return [f"between {seconds(after_us)} and {seconds(before_us)}"]
    if after_us is not None:
        return [f"from {seconds(after_us)} on"]
    return [] if before_us is None else [f"before {seconds(before_us)}"]


def _some(values: Sequence[Any]) -> str:
    """The first values of a list, and how many more there are."""
    named = ", ".join(shortened(str(value), _VALUE_MAX) for value in values[:_NAMED_MAX])
    more = len(values) - _NAMED_MAX
    return f"{named} and {number(more)} more" if more > 0 else named
