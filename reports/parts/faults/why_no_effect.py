"""Why a rule did nothing, as far as a recording tells."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from faults.events import Direction
from faults.kinds.registry import KINDS
from faults.rule import FaultRule
from replay.recording.words import seconds
from reports.evidence import Evidence
from reports.parts.faults.rule_words import is_aimed, ordinal, with_values
from reports.words import counted
from traces.text import shortened

#: Characters of a name in a sentence.
_NAME_MAX = 60


def why_never_fired(evidence: Evidence, rule: FaultRule, met: int) -> str:
    """Why a rule never decided on a fault.

    Args:
        evidence: the recording.
        rule: as run.json has it.
        met: how many events its conditions are about.
    """
    what = "state" if is_aimed(rule) else "event"
    if met:
        return f"Its conditions met {counted(met, what)}, but {_not_chosen(rule, met, what)}."
    reasons = list(_reasons(evidence, rule))
    if reasons:
        return f"Its conditions met no {what}: {'; '.join(reasons)}."
    return f"Its conditions, taken together, met no {what} of this replay."


def why_never_landed(rule: FaultRule, missed: int) -> str:
    """Why nothing of what a rule planned came about."""
    if missed:
        return (
            f"It missed all {counted(missed, 'time')}: no request was in state "
            f"{rule.when} any more, or no timeout of this engine runs there."
        )
    kind = KINDS.get(rule.fault)
    return "" if kind is None else kind.why_none_landed(rule)


def _not_chosen(rule: FaultRule, met: int, what: str) -> str:
    """Why none of those that it met was hit."""
    probability, scope = rule.probability, rule.occurrences_per
    of_each = "" if scope == "rule" else f" of any one {scope}"
    if rule.occurrences:
        first = min(rule.occurrences)
        if scope == "rule" and first > met:
            return f"the {ordinal(first)}, the first it waits for, never came"
        if probability >= 1:
            return f"none was the {ordinal(first)}{of_each}"
        return (
            f"none was at once the {ordinal(first)}{of_each} and chosen by chance ({probability:g})"
        )
    if probability < 1:
        return (
            f"chance chose none of them: {met * probability:,.3g} were to be expected at "
            f"{probability:g} each. Raise its probability, or try another seed"
        )
    kind = KINDS.get(rule.fault)
    why = None if kind is None else kind.why_none_hit(rule)
    return with_values(why, rule) if why else f"it hit no {what} of them"


def _reasons(evidence: Evidence, rule: FaultRule) -> Iterator[str]:
    """Conditions that no event of this recording can meet, each by itself."""
    if rule.request_ids:
        ids, asked = evidence.tables["requests"]["request_id"], sorted(rule.request_ids)
        known = pc.sum(pc.is_in(ids, value_set=pa.array(asked, pa.string()))).as_py() or 0
        if not known:
            more = f" nor any of {len(asked) - 1:,} more" if len(asked) > 1 else ""
            yield f"the trace has no request {shortened(asked[0], _NAME_MAX)}{more}"
    pools = {pool["pool"] for pool in evidence.run["pools"]}
    if rule.pools and not pools & rule.pools:
        yield f"there is no rank {shortened(min(rule.pools), _NAME_MAX)}"
    profile = evidence.run["profile"]
    side: Direction = "prefill" if rule.direction == "prefill" else "decode"
    for ranks, field in (
        (rule.dp_ranks, f"{side}_dp"),
        (rule.prefill_tp_ranks, "prefill_tp"),
        (rule.decode_tp_ranks, "decode_tp"),
    ):
        count = profile[field]
        if ranks and min(ranks) >= count and not is_aimed(rule):
            yield f"there is no {field.replace('_', ' ')} rank {min(ranks)}, only 0 to {count - 1}"
    inject_us = next((each["end_us"] for each in evidence.run["phases"]), 0)
    if rule.after_us is not None and rule.after_us > inject_us:
        yield f"faults end with the inject phase at {seconds(inject_us)}"
    if (kind := KINDS.get(rule.fault)) is not None:
        why = kind.why_none_met(rule, side, profile[f"{side}_dp"])
        yield from () if why is None else (why,)
    if is_aimed(rule):
        yield f"no request came into state {rule.when}"
    elif not rule.states:
        sent = pc.sum(pc.equal(evidence.tables["events"]["direction"], side)).as_py() or 0
        if not sent:
            yield f"no event was sent to {side} at all"
    else:
        yield "the state of the receiver when an event is sent is not recorded; look at that first"
