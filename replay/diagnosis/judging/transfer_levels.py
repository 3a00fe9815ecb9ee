"""Transfers that never leave their queue while others come and go.

A level of the queue is called stuck when the number of transfers has not been below it for much
longer than it ever was busy before, has come down to exactly it again and again, and the queue once
was empty. A server that is simply loaded comes down to zero now and then, or never was there.
"""

from __future__ import annotations

from replay.diagnosis.judging.finding import Finding
from replay.diagnosis.judging.gap_run import seconds_between
from replay.diagnosis.judging.load_watch import LoadWatch
from replay.diagnosis.judging.next_steps import steps_for_load
from replay.diagnosis.judging.transfer_floor import Level

#: Lines at exactly the level, and their share of all lines since.
_LINES_AT_MIN = 3
_SHARE_AT_MIN = 0.2
#: How much longer than any time that the queue was busy before, in time.
_TIMES_LONGER = 3.0
_LASTS_S_MIN = 30.0
#: A stretch that ended is called late when it was this long, and so many times the others' mean.
_LATE_S_MIN = 10.0
_LATE_TIMES = 5.0
_STRETCHES_MIN = 4


def judge_floor(watch: LoadWatch, who: str, engine: str) -> Finding | None:
    """The finding of the lowest level that the queue has not been below; None if it is zero."""
    if not watch.floor.levels:
        return None
    level = watch.floor.levels[0]
    if level.lines < _LINES_AT_MIN:
        return None
    lasted_s = seconds_between(level.since, level.last)
    told = (
        f"{who}: since line {level.since.line} never fewer than {level.requests} in transfer, on "
        f"{level.lines} lines, {level.at} of them exactly that"
    )
    if lasted_s is not None:
        told += f", for {lasted_s:.0f} s"
    if _is_stuck(watch, level, lasted_s):
        return Finding(
            verdict="persistent",
            kind="hang",
            growth="unknown",
            why=f"{told}; before, the queue was empty on {watch.floor.at_zero} lines and busy for "
            f"{watch.floor.longest_s:.0f} s at most: their completions are lost",
        )
    return Finding(
        verdict="inconclusive",
        kind="hang",
        growth="unknown",
        why=f"{told}; a busy server looks like that as well",
        next=steps_for_load(engine),
    )


def _is_stuck(watch: LoadWatch, level: Level, lasted_s: float | None) -> bool:
    if level.at < _LINES_AT_MIN or level.at < _SHARE_AT_MIN * level.lines:
        return False
    if not watch.floor.at_zero or lasted_s is None:
        return False
    return lasted_s > max(_LASTS_S_MIN, _TIMES_LONGER * watch.floor.longest_s)


def judge_late(watch: LoadWatch, who: str) -> Finding | None:
    """Transfers that came much later than the others, and did come."""
    floor = watch.floor
    if floor.stretches < _STRETCHES_MIN or floor.longest_s < _LATE_S_MIN:
        return None
    if floor.longest_s < _LATE_TIMES * floor.mean_other_s or floor.longest_end is None:
        return None
    return Finding(
        verdict="transient",
        kind="held",
        why=f"{who}: transfers were under way for {floor.longest_s:.0f} s, where "
        f"{floor.mean_other_s:.1f} s are usual here, and were done by line "
        f"{floor.longest_end.line}",
    )
