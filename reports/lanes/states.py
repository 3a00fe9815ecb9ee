"""The states of a request on each side as bars of its lane."""

from __future__ import annotations

from dataclasses import dataclass

from faults.events import STATE_MEANINGS
from replay.recording.kinds import STATES
from replay.recording.requests import SIDES, RequestRow, Side

#: State -> the colour variable of the style sheet that it is drawn in, without its dashes.
COLOURS = {
    "bootstrap": "free",
    "prefill-waiting": "cached",
    "prefilling": "running",
    "in-flight": "held",
    "absent": "free",
    "prealloc": "free",
    "transfer": "protected",
    "moving": "transfer",
    "landed": "held",
    "waiting": "cached",
    "running": "running",
    "deferred": "orphaned",
}
#: State -> what a request does in it.
MEANINGS = {str(state): meaning.partition(": ")[2] for state, meaning in STATE_MEANINGS.items()} | {
    "absent": STATES["absent"].begins,
    "running": "it is in the running batch, or was retracted for want of pages",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of virtual time that a request spent in one state of one side."""

    side: Side
    state: str
    start_us: int
    end_us: int
    #: Whether it went on beyond the end of the recording.
    is_open: bool = False

    @property
    def word(self) -> str:
        """A word or two that fit it."""
        return STATES[self.state].label


def bars_of(row: RequestRow, end_us: int) -> tuple[Bar, ...]:
    """The bars of both lanes, prefill's first, each lane in the order of time.

    Args:
        row: whose.
        end_us: when the recording ends.
    """
    stays = [stay for side in SIDES for stay in row.stays(side)]
    last_us = max(end_us, *(stay.start_us for stay in stays), 0)
    bars = (
        Bar(side, state, start_us, last_us if until_us is None else until_us, until_us is None)
        for side, state, start_us, until_us in stays
    )
    return tuple(bar for bar in bars if bar.end_us > bar.start_us)
