"""Why a rule did nothing, as far as a recording tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from faults.rule import AIMED_FAULTS, CONDITION_MEANINGS
from replay.recording.words import seconds
from reports.evidence import Evidence
from reports.parts.rule_words import ordinal
from reports.words import counted, number
from traces.text import shortened

#: Characters of a name in a sentence.
_NAME_MAX = 60


def why_never_fired(evidence: Evidence, rule: Mapping[str, Any], met: int) -> str:
    """Why a rule never decided on a fault.

    Args:
        evidence: the recording.
        rule: as run.json has it.
        met: how many events its conditions are about.
    """
    what = "state" if rule["fault"] in AIMED_FAULTS else "event"
    if met:
        return f"Its conditions met {counted(met, what)}, but {_not_chosen(rule, met, what)}."
    reasons = list(_reasons(evidence, rule))
    if reasons:
        return f"Its conditions met no {what}: {'; '.join(reasons)}."
    return f"Its conditions, taken together, met no {what} of this replay."


def why_never_landed(rule: Mapping[str, Any], missed: int) -> str:
    """Why nothing of what a rule planned came about."""
    if missed:
        return (
            f"It took aim, and missed all {counted(missed, 'time')}: no request was in state "
            f"{rule.get('when')} any more, or no timeout of this engine runs there."
        )
    if rule.get("until") in CONDITION_MEANINGS:
        return (
            f"It waits until {CONDITION_MEANINGS[rule['until']]}, which never came about, and "
            "nobody missed what it held back."
        )
    if rule["fault"] == "stale":
        return "It waits until the pages are another's, which never came about."
    if rule["fault"] in ("drop", "partial"):
        return "What it would have lost had come already, by another rule."
    return "The replay ended before what it planned could come about."


def _not_chosen(rule: Mapping[str, Any], met: int, what: str) -> str:
    """Why none of those that it met was hit."""
    numbers, probability = rule.get("occurrences"), rule.get("probability", 1.0)
    scope = rule.get("occurrences_per", "rule")
    of_each = "" if scope == "rule" else f" of any one {scope}"
    if numbers and scope == "rule" and min(numbers) > met:
        return f"the {ordinal(min(numbers))}, the first it waits for, never came"
    if numbers and probability >= 1:
        return f"none was the {ordinal(min(numbers))}{of_each}"
    if numbers:
        return (
            f"none was at once the {ordinal(min(numbers))}{of_each} and chosen by chance "
            f"({probability:g})"
        )
    if probability < 1:
        return (
            f"chance chose none of them: {met * probability:,.3g} were to be expected at "
            f"{probability:g} each. Raise its probability, or try another seed"
        )
    if rule["fault"] == "partial":
        return f"none of them was beyond the {number(rule.get('keep', 1))} that it keeps"
    return f"it hit no {what} of them"


def _reasons(evidence: Evidence, rule: Mapping[str, Any]) -> Iterator[str]:
    """Conditions that no event of this recording can meet, each by itself."""
    if request_ids := rule.get("request_ids"):
        ids = evidence.tables["requests"]["request_id"]
        known = pc.sum(pc.is_in(ids, value_set=pa.array(request_ids, pa.string()))).as_py() or 0
        if not known:
            named = shortened(str(request_ids[0]), _NAME_MAX)
            more = f" nor any of {len(request_ids) - 1:,} more" if len(request_ids) > 1 else ""
            yield f"the trace has no request {named}{more}"
    pools = {pool["pool"] for pool in evidence.run["pools"]}
    if (asked := rule.get("pools")) and not pools & set(asked):
        yield f"there is no rank {shortened(str(asked[0]), _NAME_MAX)}"
    profile = evidence.run["profile"]
    side = "prefill" if rule.get("direction") == "prefill" else "decode"
    for key, field in (
        ("dp_ranks", f"{side}_dp"),
        ("prefill_tp_ranks", "prefill_tp"),
        ("decode_tp_ranks", "decode_tp"),
    ):
        asked, count = rule.get(key), profile[field]
        if asked and min(asked) >= count and rule["fault"] not in AIMED_FAULTS:
            yield f"there is no {field.replace('_', ' ')} rank {min(asked)}, only 0 to {count - 1}"
    inject_us = next((each["end_us"] for each in evidence.run["phases"]), 0)
    if (after_us := rule.get("after_us")) is not None and after_us > inject_us:
        yield f"faults end with the inject phase at {seconds(inject_us)}"
    if rule["fault"] == "misroute" and rule.get("to") == "rank" and profile[f"{side}_dp"] == 1:
        yield f"{side} has one DP rank, so there is no other"
    if rule["fault"] in AIMED_FAULTS:
        yield f"no request came into state {rule.get('when')}"
    elif not rule.get("states"):
        sent = pc.sum(pc.equal(evidence.tables["events"]["direction"], side)).as_py() or 0
        if not sent:
            yield f"no event was sent to {side} at all"
    else:
        yield "the state of the receiver when an event is sent is not recorded; look at that first"
