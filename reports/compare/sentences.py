"""What a comparison comes to, in one sentence and one sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from reports.evidence import Evidence
from reports.words import by_count, counted

Change = Literal["gone", "better", "unchanged", "changed", "worse", "new", "unclear"]

#: Change -> (sign, the word beside it, the class that colours both).
SIGNS: dict[Change, tuple[str, str, str]] = {
    "gone": ("\N{CHECK MARK}", "gone", "clean"),
    "better": ("\N{DOWNWARDS ARROW}", "better", "transient"),
    "unchanged": ("=", "unchanged", "soft"),
    "changed": ("\N{ALMOST EQUAL TO}", "changed", "transient"),
    "worse": ("\N{UPWARDS ARROW}", "worse", "persistent"),
    "new": ("+", "new", "persistent"),
    "unclear": ("?", "cannot tell", "inconclusive"),
}


@dataclass(frozen=True, slots=True)
class Result:
    """How things changed, in a word and in a sentence."""

    change: Change
    sentence: str


@dataclass(frozen=True, slots=True)
class _State:
    """What decides: the verdict, what stayed open, and the widest gap, in tokens."""

    verdict: str
    lasting_tokens: int
    widest_tokens: int
    noun: str
    kinds: dict[str, int]

    @property
    def rank(self) -> tuple[int, int, int]:
        """The higher, the worse."""
        grade = ("clean", "transient", "persistent").index(self.verdict)
        return grade, self.lasting_tokens, sum(self.kinds.values())


def make_result(before: Evidence, after: Evidence) -> Result:
    """Say what became of the gap between two recordings."""
    one, two = _state(before.summary), _state(after.summary)
    if "inconclusive" in (one.verdict, two.verdict):
        return Result("unclear", _unclear(one, two))
    if one.verdict != "persistent" and two.verdict == "persistent":
        healed = f"; before, {_healing(one)}" if one.verdict == "transient" else ""
        return Result("new", f"new: {_lasting(two)}, none before{healed}")
    if one.verdict == "persistent" and two.verdict != "persistent":
        healing = f"; after, {_healing(two)}" if two.verdict == "transient" else ""
        return Result(
            "gone", f"the {one.noun} is gone: {_lasting(one)} before, none after{healing}"
        )
    if one.verdict == two.verdict == "persistent":
        return _both_persistent(one, two)
    return _none_persistent(one, two)


def _both_persistent(one: _State, two: _State) -> Result:
    sizes = f"{_lasting(one)} before, {_lasting(two)} after"
    if one.rank == two.rank:
        if one.kinds == two.kinds:
            return Result("unchanged", f"unchanged: {_lasting(one)}, before and after")
        return Result(
            "changed",
            f"changed: {_lasting(one)} before and after, but of other kinds: "
            f"{by_count(one.kinds)} before, {by_count(two.kinds)} after",
        )
    if two.rank < one.rank:
        return Result("better", f"better, but not gone: {sizes}")
    return Result("worse", f"worse: {sizes}")


def _none_persistent(one: _State, two: _State) -> Result:
    """Neither keeps a gap; they may differ in what opens and heals."""
    if one.verdict == two.verdict == "clean":
        return Result("unchanged", "unchanged: no gap in either")
    widths = f"at most {_tokens(one.widest_tokens)} before, {_tokens(two.widest_tokens)} after"
    if two.verdict == "clean":
        return Result("gone", f"the gap that healed is gone: before, {_healing(one)}; after, none")
    if one.verdict == "clean":
        return Result("new", f"new: {_healing(two)}; before, none")
    if one.widest_tokens == two.widest_tokens:
        return Result("unchanged", f"unchanged: {_healing(one)} in both")
    change: Change = "better" if two.widest_tokens < one.widest_tokens else "worse"
    return Result(change, f"{change}: every gap heals in both, {widths}")


def _unclear(one: _State, two: _State) -> str:
    which = (
        "neither recording tells"
        if one.verdict == two.verdict
        else f"the recording {'before' if one.verdict == 'inconclusive' else 'after'} does not tell"
    )
    return (
        f"cannot tell: {which} whether its gap stays; open at the end: "
        f"{_tokens(one.lasting_tokens)} before, {_tokens(two.lasting_tokens)} after"
    )


def _state(summary: dict[str, Any]) -> _State:
    mismatch = summary["mismatch"]
    nouns = {"leak": "leak", "over-free": "over-free", None: "finding"}
    return _State(
        summary["verdict"],
        # Tokens missing in one pool and too many in another do not make up for each other.
        sum(map(abs, summary["final_gap"]["pools"].values())),
        0 if mismatch is None else abs(mismatch["gap"]),
        nouns.get(summary["direction"], "gap"),
        summary["kinds"],
    )


def _lasting(state: _State) -> str:
    """What never went away; where no count shows it, its pages by kind."""
    if state.lasting_tokens:
        return _tokens(state.lasting_tokens)
    return f"pages {by_count(state.kinds)}" if state.kinds else "requests that never end"


def _healing(state: _State) -> str:
    if not state.widest_tokens:
        return "something is wrong that heals"
    return f"a gap of at most {_tokens(state.widest_tokens)} opens and heals"


def _tokens(tokens: int) -> str:
    return "none" if not tokens else counted(tokens, "token")
