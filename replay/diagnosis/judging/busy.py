"""What the status lines of an engine mean that was not seen idle, or not lately.

In silence an idle SGLang checks its pools, and says only what is missing. So an engine that paused
and worked again with nothing in transfer passed its checks; one that is never seen to pause shows
neither leak nor health, whatever it uses.
"""

from __future__ import annotations

from replay.diagnosis.judging.finding import Finding, Weight
from replay.diagnosis.judging.load_watch import PAUSE_S, LoadWatch, amount, is_disaggregated
from replay.diagnosis.judging.next_steps import steps_for_load
from replay.diagnosis.judging.series import Series, who
from replay.diagnosis.judging.transfer_floor import in_transfer
from replay.recording.words import counted

#: Pauses after which a silent check counts as one that balances.
_PAUSES_MIN = 3
#: An engine that never uses less than this share of its pool may have lost as much.
_FLOOR_SHARE_MAX = 0.1
#: Lines of a working engine from which something can be said at all.
_LINES_MIN = 3


def judge_busy(watch: LoadWatch, series: Series) -> Finding:
    """An engine that was not seen idle, or not lately."""
    last = watch.last
    if last is None or watch.lines < _LINES_MIN:
        return _open(series, f"only {counted(watch.lines, 'line')}, none of them idle")
    if last.transferring or last.preallocated_usage:
        return Finding(
            verdict="inconclusive",
            kind="held",
            growth="unknown",
            why=f"{who(series)}: the log ends with {counted(in_transfer(last) or 0, 'transfer')} "
            "under way",
            next=steps_for_load(series.key.engine),
        )
    if series.key.engine.startswith("sglang"):
        if not is_disaggregated(last):
            return _serving_alone(watch, series)
        # 0.4's decode lines have no number of transfers, and its check does not run beside one.
        counted_ones = last.transferring if last.inflight is None else last.inflight
        if watch.pauses >= _PAUSES_MIN and counted_ones == 0:
            return _silent_checks(watch, series)
    return _open(
        series,
        f"on {counted(watch.lines, 'line')} it works, and "
        + ("was last seen idle long before the end" if watch.idle_at else "was never seen idle")
        + ": neither leak nor health shows",
    )


def _silent_checks(watch: LoadWatch, series: Series) -> Finding:
    """Its idle check ran in every pause, and speaks only of what is missing."""
    return Finding(
        verdict="clean",
        kind="none",
        why=f"{who(series)}: worked again after {watch.pauses} pauses of {PAUSE_S:.0f} s or more, "
        "with nothing in transfer, and its idle check, which speaks only of what is missing, said "
        "nothing",
    )


def _serving_alone(watch: LoadWatch, series: Series) -> Finding:
    """No transfers that could hang in silence, and a check that speaks when something is missing."""
    if watch.steady and watch.step:
        return Finding(
            verdict="clean",
            kind="none",
            why=f"{who(series)}: use grows by {watch.step:.0f} tokens a line for each of "
            f"{watch.running_max} requests, as decoding does, and by nothing else",
        )
    early, late = _floors(watch)
    if early is None or late is None:
        return _open(
            series, f"{counted(watch.lines, 'line')}, none of them says how full the pool is"
        )
    told = (
        f"never seen idle; the least in use was {amount(early, watch)} in the first third of the "
        f"lines and {amount(late, watch)} in the last"
    )
    if late > early:
        return _open(series, f"{told}, which other requests explain as well as a leak")
    if _share(early, watch) > _FLOOR_SHARE_MAX:
        return _open(series, f"{told}, which its requests explain as well as pages lost before")
    return Finding(
        verdict="clean",
        kind="none",
        why=f"{who(series)}: {told}: no more can be missing than that",
    )


def silent_log(server: str, engine: str) -> Finding:
    """A log without a single known line, given together with others that have some."""
    return Finding(
        verdict="inconclusive",
        kind="none",
        growth="unknown",
        own_weight=Weight.NEVER_IDLE,
        why=f"{server}: none of its lines is known, so nothing shows that its server works",
        next=steps_for_load(engine),
    )


def _open(series: Series, why: str) -> Finding:
    return Finding(
        verdict="inconclusive",
        kind="none",
        growth="unknown",
        own_weight=Weight.NEVER_IDLE,
        why=f"{who(series)}: {why}",
        next=steps_for_load(series.key.engine),
    )


def _share(used: float, watch: LoadWatch) -> float:
    """What share of the pool an amount in use is; 0 where no line tells."""
    last = watch.last
    if last is None or not last.usage:
        return 0.0
    return used if not last.used_tokens else used * last.usage / last.used_tokens


def _floors(watch: LoadWatch) -> tuple[float | None, float | None]:
    """The least in use in the first and in the last third of the lines."""
    third = -(-len(watch.windows) // 3)
    if not third:
        return None, None
    return (
        min(window.used for window in watch.windows[:third]),
        min(window.used for window in watch.windows[-third:]),
    )
