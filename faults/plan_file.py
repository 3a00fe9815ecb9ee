"""What may stand in a plan file: the keys of a rule, their values, and which fault takes which.

The models are also the source of the JSON Schema that editors read (`kvreplay faults --schema`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from faults.bursts import Burst
from faults.chance import checked_probability
from faults.durations import DELAY_US_MAX, Duration, LogNormal, Uniform
from faults.events import DECODE_STATES, PREFILL_STATES, Direction, RequestState
from faults.rule import AIMED_FAULTS, Condition, Detour, FaultKind, FaultRule, Scope
from faults.toml_errors import nearest

_Rank = Annotated[int, Field(ge=0)]
_Time = Annotated[int, Field(ge=0, le=DELAY_US_MAX)]
_Probability = Annotated[float, BeforeValidator(checked_probability)]
_Delay = Annotated[int, Field(ge=1, le=DELAY_US_MAX)]

#: States in which some engine has a timeout that can end.
TIMEOUT_STATES: tuple[RequestState, ...] = (
    "bootstrap",
    "transfer",
    "landed",
    "deferred",
    "in-flight",
)

#: Keys of a rule that say something of an event, and so nothing of a request.
KEYS_ABOUT_EVENTS = ("direction", "states", "prefill_tp_ranks", "decode_tp_ranks")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class LogNormalEntry(_Entry):
    """A log-normal distribution of times."""

    median_us: _Delay = Field(description="half of the times are shorter")
    sigma: float = Field(gt=0, le=10, description="standard deviation of the logarithm")
    max_us: _Delay = Field(DELAY_US_MAX, description="longer times are cut to this")


class DurationEntry(_Entry):
    """A time that is drawn for each event: exactly one of the two keys."""

    uniform: list[_Time] | None = Field(
        None, min_length=2, max_length=2, description="[least, most] microseconds"
    )
    lognormal: LogNormalEntry | None = None

    def complaint(self) -> str | None:
        """What is wrong between the keys, or None."""
        if (self.uniform is None) == (self.lognormal is None):
            return "give either uniform = [LEAST, MOST] or lognormal = { median_us, sigma }"
        if self.uniform is not None and self.uniform[0] > self.uniform[1]:
            return f"uniform goes from {self.uniform[0]} down to {self.uniform[1]}"
        if self.lognormal is not None and self.lognormal.max_us < self.lognormal.median_us:
            return (
                f"max_us {self.lognormal.max_us} is below median_us {self.lognormal.median_us}, so "
                "that most times would be cut to it"
            )
        return None

    def to_duration(self) -> Duration:
        """The distribution itself."""
        if self.uniform is not None:
            return Uniform(self.uniform[0], self.uniform[1])
        assert self.lognormal is not None
        return LogNormal(self.lognormal.median_us, self.lognormal.sigma, self.lognormal.max_us)


class BurstEntry(_Entry):
    """Windows of time in which a rule acts."""

    length_us: _Delay = Field(description="how long a window is open")
    every_us: _Delay = Field(description="one window opens in each stretch of this length")
    probability: _Probability = Field(1.0, gt=0.0, le=1.0, description="of a window in a stretch")
    hits: Literal["rank", "all"] = Field(
        "rank", description="each rank has windows of its own, or all have the same"
    )

    def to_burst(self) -> Burst:
        """The burst itself."""
        return Burst(self.length_us, self.every_us, self.probability, self.hits)


class RuleEntry(_Entry):
    """One `[[rule]]` table of a plan file."""

    name: str | None = Field(None, min_length=1, description="unique; seeds the rule's choices")
    fault: FaultKind = Field(description="what becomes of the events that the rule hits")
    direction: Direction = Field(
        "decode", description="decode: completions; prefill: acknowledgements"
    )
    probability: _Probability = Field(
        1.0, ge=0.0, le=1.0, description="drawn for each matching event"
    )
    occurrences: list[Annotated[int, Field(ge=1)]] | None = Field(
        None, min_length=1, description="hit only the n-th matching events, from 1"
    )
    occurrences_per: Scope = Field("rule", description="what occurrences are counted over")
    request_ids: list[str] | None = Field(None, min_length=1, description="of these requests")
    session_ids: list[str] | None = Field(None, min_length=1, description="of these sessions")
    pools: list[str] | None = Field(
        None, min_length=1, description="told to these ranks, such as decode0/dp3"
    )
    dp_ranks: list[_Rank] | None = Field(None, min_length=1, description="told to these DP ranks")
    prefill_tp_ranks: list[_Rank] | None = Field(
        None, min_length=1, description="from or to these prefill TP ranks"
    )
    decode_tp_ranks: list[_Rank] | None = Field(
        None, min_length=1, description="to or from these decode TP ranks"
    )
    states: list[str] | None = Field(
        None, min_length=1, description="sent while the receiver has the request in these states"
    )
    after_us: _Time | None = Field(None, description="sent at or after this virtual time")
    before_us: _Time | None = Field(None, description="sent before this virtual time")
    burst: BurstEntry | None = Field(None, description="sent in one of these windows of time")
    delay_us: _Delay | DurationEntry | None = Field(None, description="how much later")
    until: Condition | None = Field(None, description="held until this has happened")
    copies: Annotated[int, Field(ge=1, le=1000)] | None = Field(None, description="how many more")
    copy_delay_us: (
        _Time | Annotated[list[_Time], Field(min_length=1, max_length=1000)] | DurationEntry | None
    ) = Field(
        None,
        description="between the copies; a list gives each its own, a distribution draws each",
    )
    window_us: _Delay | None = Field(
        None, description="events this close together may change places"
    )
    to: Detour | None = Field(
        None, description="kind: as an event of the other kind; the next DP rank; the next room"
    )
    early_us: _Delay | None = Field(
        None, description="at most so much early; left out: when the last bytes set out"
    )
    keep: Annotated[int, Field(ge=1)] | None = Field(
        None, description="events of a transfer that do arrive; 1 if left out"
    )
    when: RequestState | None = Field(None, description="the state that the request is in")

    def complaint(self) -> tuple[str, str] | None:
        """The key that does not go with the others and what is wrong with it, or None."""
        uses = KEYS_OF_FAULT[self.fault]
        for key in _ALL_FAULT_KEYS:
            if getattr(self, key) is not None and key not in uses.may | uses.must:
                takers = [
                    name for name, each in KEYS_OF_FAULT.items() if key in each.may | each.must
                ]
                return key, f"only {_alternatives(takers)} takes it, not {self.fault}"
        for key in sorted(uses.must):
            if getattr(self, key) is None:
                return key, f'missing, and fault = "{self.fault}" needs it'
        return self._complaint_of_fault() or self._complaint_of_conditions()

    def _complaint_of_fault(self) -> tuple[str, str] | None:
        if self.fault == "delay" and self.delay_us is None and self.until is None:
            return "delay_us", 'missing: fault = "delay" needs delay_us, until, or both'
        if self.fault == "stale" and self.until not in (None, "pages-reused", "room-reused"):
            return "until", f'"{self.until}" is no reuse; stale takes pages-reused or room-reused'
        if self.fault == "timeout" and self.when not in TIMEOUT_STATES:
            return (
                "when",
                f'no engine has a timeout in "{self.when}"; give {_alternatives(TIMEOUT_STATES)}',
            )
        if isinstance(self.copy_delay_us, list) and len(self.copy_delay_us) != (self.copies or 1):
            return "copy_delay_us", (
                f"{len(self.copy_delay_us)} delays for {self.copies or 1} copies; give one for each"
            )
        for key in ("delay_us", "copy_delay_us"):
            value = getattr(self, key)
            if isinstance(value, DurationEntry) and (wrong := value.complaint()) is not None:
                return key, wrong
        return None

    def _complaint_of_conditions(self) -> tuple[str, str] | None:
        start_us, end_us = self.after_us or 0, self.before_us
        if end_us is not None and start_us >= end_us:
            return "before_us", f"{end_us} is not later than after_us {start_us}"
        if self.burst is not None and self.burst.length_us > self.burst.every_us:
            return "burst", (
                f"a window of {self.burst.length_us} us does not fit into every_us "
                f"{self.burst.every_us}"
            )
        if self.occurrences is None and self.occurrences_per != "rule":
            return "occurrences_per", "says what occurrences are counted over, and there are none"
        if self.fault in AIMED_FAULTS:
            for key in KEYS_ABOUT_EVENTS:
                if getattr(self, key) != type(self).model_fields[key].default:
                    return key, f"{self.fault} acts on a request, not on events; use when"
        known = STATES_OF_RECEIVERS[self.direction]
        for state in self.states or ():
            if state not in known:
                return (
                    "states",
                    f'no state "{state}" on the {self.direction} side; {nearest(state, known)}',
                )
        return None

    def to_rule(self) -> FaultRule:
        """The rule itself; an unnamed one is named after its content, never after its place."""
        given: dict[str, Any] = {}
        for key in type(self).model_fields:
            value = getattr(self, key)
            if key == "name" or value is None:
                continue
            given[key] = _plain(key, value)
        return FaultRule(name=self.name or self._name_of_content(), **given)

    def _name_of_content(self) -> str:
        content = self.model_dump(exclude_none=True, exclude={"name"}, exclude_defaults=True)
        rest = " ".join(f"{key}={value}" for key, value in content.items() if key != "fault")
        return f"{self.fault} {rest}".strip()


class PlanFile(_Entry):
    """A plan file: a comment, any number of rules, and what is known about the plan, if anything is.

    The keys beside `comment` and `rule` describe; none of them changes a replay.
    """

    comment: str = Field("", description="what the plan is for, in a line")
    mode: str = Field("", description="the field failure mode that the plan brings about")
    reports: list[Annotated[str, Field(pattern="^https://")]] = Field(
        default_factory=list, description="public reports of it, as links"
    )
    needs: list[Annotated[str, Field(pattern="^[a-z_]+=")]] = Field(
        default_factory=list,
        description="profile fields that a deployment must have for it, as given to --set",
    )
    shows: str = Field("", description="a profile or a defect that fails under the plan")
    verdict: Literal["clean", "transient", "persistent", "inconclusive"] | None = Field(
        None, description="what that one's verdict is; inconclusive when the engine would have died"
    )
    rule: list[RuleEntry] = Field(default_factory=list, description="the rules, in any order")


@dataclass(frozen=True, slots=True)
class _Keys:
    """Keys that a fault takes beside those that say which events it hits."""

    must: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()


KEYS_OF_FAULT: dict[FaultKind, _Keys] = {
    "drop": _Keys(),
    "delay": _Keys(may=frozenset({"delay_us", "until"})),
    "duplicate": _Keys(may=frozenset({"copies", "copy_delay_us"})),
    "reorder": _Keys(must=frozenset({"window_us"})),
    "misroute": _Keys(may=frozenset({"to"})),
    "early": _Keys(may=frozenset({"early_us"})),
    "partial": _Keys(may=frozenset({"keep"})),
    "fail": _Keys(),
    "stale": _Keys(may=frozenset({"until", "delay_us"})),
    "abort": _Keys(must=frozenset({"when"}), may=frozenset({"delay_us"})),
    "timeout": _Keys(must=frozenset({"when"}), may=frozenset({"delay_us"})),
}
assert set(KEYS_OF_FAULT) == set(get_args(FaultKind))
_ALL_FAULT_KEYS = sorted(set().union(*(keys.must | keys.may for keys in KEYS_OF_FAULT.values())))

_ENDED = ("finished", "aborted", "failed", "lost")
#: Where a receiver can have a request when an event is sent to it.
STATES_OF_RECEIVERS: dict[Direction, tuple[str, ...]] = {
    "decode": (*DECODE_STATES, *_ENDED),
    "prefill": (*PREFILL_STATES, "done", "dropped"),
}


def _plain(key: str, value: object) -> object:
    """A value of a checked entry as the rule holds it."""
    if isinstance(value, DurationEntry):
        return value.to_duration()
    if isinstance(value, BurstEntry):
        return value.to_burst()
    if isinstance(value, list):
        return tuple(value) if key == "copy_delay_us" else frozenset(value)
    return value


def _alternatives(names: tuple[str, ...] | tuple[RequestState, ...] | list[FaultKind]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else str(last)
