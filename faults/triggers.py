"""Whether a rule is about an event, or about a request in a state: everything but chance and number."""

from __future__ import annotations

from faults.events import CompletionEvent, Moment
from faults.rule import FaultRule


def covers_event(rule: FaultRule, event: CompletionEvent, seed: int) -> bool:
    """Whether a completion event meets every condition but occurrence and probability."""
    return (
        not rule.is_aimed
        and rule.direction == event.direction
        and (rule.prefill_tp_ranks is None or event.prefill_tp_rank in rule.prefill_tp_ranks)
        and (rule.decode_tp_ranks is None or event.decode_tp_rank in rule.decode_tp_ranks)
        and (rule.states is None or event.state in rule.states)
        and _covers(rule, event, event.sent_us, seed)
        and not (rule.fault == "partial" and event.parts <= rule.keep)
        and not (rule.fault == "misroute" and rule.to == "rank" and event.dp_ranks == 1)
        and not (rule.fault == "misroute" and rule.to == "room" and _has_no_other_room(event))
    )


def covers_moment(rule: FaultRule, moment: Moment, seed: int) -> bool:
    """Whether a request that comes into a state meets every condition but these two."""
    return rule.is_aimed and rule.when == moment.state and _covers(rule, moment, moment.at_us, seed)


def _has_no_other_room(event: CompletionEvent) -> bool:
    return event.next_room == event.bootstrap_room


def _covers(rule: FaultRule, subject: CompletionEvent | Moment, at_us: int, seed: int) -> bool:
    return (
        (rule.request_ids is None or subject.request_id in rule.request_ids)
        and (rule.session_ids is None or subject.session_id in rule.session_ids)
        and (rule.pools is None or subject.pool in rule.pools)
        and (rule.dp_ranks is None or subject.dp_rank in rule.dp_ranks)
        and (rule.after_us is None or at_us >= rule.after_us)
        and (rule.before_us is None or at_us < rule.before_us)
        and (rule.burst is None or rule.burst.is_on(seed, rule.name, subject.pool, at_us))
    )
