"""What status lines and scraped metrics of one rank and pool mean.

In the order of how much they say: what is in use when nothing runs or waits; who waits while nothing
runs; transfers that never leave their queue while others do; a pool that is full while it works.
"""

from __future__ import annotations

import dataclasses

from replay.diagnosis.judging.assessment import Assessment, Growth, Weight, clean, unclear
from replay.diagnosis.judging.gap_run import GapRun
from replay.diagnosis.judging.load_watch import (
    FULL_USAGE,
    PAUSE_S,
    RELAXED_USAGE,
    LoadWatch,
    amount,
    is_disaggregated,
)
from replay.diagnosis.judging.next_steps import steps_for_load
from replay.diagnosis.judging.series import Series, who
from replay.diagnosis.judging.transfer_floor import in_transfer, judge_floor, judge_late
from replay.recording.kinds import GROWTH_CYCLES_MIN
from replay.recording.words import counted

#: Quiet lines that must agree, and the time they must span, before held pages count as lost.
_QUIET_LINES_MIN = 3
_QUIET_SPAN_S_MIN = 25.0
#: Transfers normally show on one line and are gone on the next.
_NOTED_LINES_MIN = 2
#: Lines after an idle one, and their share of all, from which it is no news any more.
_STALE_LINES = 5


def judge_loads(series: Series) -> Assessment | None:
    """The assessment of a pool's status lines since its engine last started; None without any."""
    watch = series.loads
    if not watch.lines and series.earlier:
        watch = series.earlier[-1][1]
    if not watch.lines:
        return None
    return (
        _waiting(watch, series)
        or _idle(watch, series)
        or judge_floor(watch.floor, who(series), series.key.engine)
        or _pressure(watch, series)
        or judge_late(watch.floor, who(series))
        or _went(watch, series)
        or judge_busy(watch, series)
    )


def _waiting(watch: LoadWatch, series: Series) -> Assessment | None:
    """Requests in a queue while nothing runs."""
    run = watch.waiting
    last = watch.last
    if not run.is_open or last is None:
        return None
    since = f"since line {run.opened.line}" if run.opened else ""
    usage = "" if last.usage is None else f", {last.usage:.1%} of the pool in use"
    full = last.usage is not None and last.usage >= FULL_USAGE
    lost = _lasts(run)
    what = (
        "the pool is full although nothing runs: its capacity is lost"
        if full
        else "transfers hang, whether or not the page counts balance"
    )
    return Assessment(
        verdict="persistent" if lost else "inconclusive",
        kind="hang",
        direction="leak" if full else "none",
        growth=_growth(watch.waiting_usage) if lost else "unknown",
        why=(
            f"{who(series)}: {run.last:.0f} requests wait while nothing runs, {since} on "
            f"{counted(run.checks, 'line')}{usage}; "
            + (what if lost else "too few quiet lines to tell a slow transfer from a lost one")
        ),
        next=() if lost else steps_for_load(series.key.engine),
        stuck_of_total=_stuck(watch),
    )


def _idle(watch: LoadWatch, series: Series) -> Assessment | None:
    """Usage while no request runs or waits."""
    run, last = watch.idle, watch.last
    if last is None or not (run.is_open or run.closed or run.clean_checks):
        return None
    if not run.is_open:
        return _idle_now(watch, series)
    lost = _lasts(run)
    told = f"{who(series)}: {amount(run.last, watch)} in use with nothing running or waiting, on "
    return Assessment(
        verdict="persistent" if lost else "inconclusive",
        kind="orphaned" if lost else "unknown",
        direction="leak",
        growth=_growth(run) if lost else "unknown",
        why=f"{told}{counted(run.checks, 'line')}; "
        + (_course(run) if lost else "too few to tell a temporary hold from a loss"),
        next=() if lost else steps_for_load(series.key.engine),
        gap_tokens=int(run.last) if last.used_tokens is not None else 0,
        stuck_of_total=_stuck(watch),
    )


def _idle_now(watch: LoadWatch, series: Series) -> Assessment | None:
    """Nothing is in use when idle: it never was, or it came back."""
    run = watch.idle
    if run.checks_closed >= _NOTED_LINES_MIN:
        where = "" if run.closed_at is None else f" at line {run.closed_at.line}"
        return Assessment(
            verdict="transient",
            kind="held",
            direction="leak",
            why=f"{who(series)}: {amount(run.widest_closed, watch)} was in use with nothing "
            f"running, and came back{where}",
        )
    if not run.clean_checks or watch.lines_since_idle > max(_STALE_LINES, watch.lines // 10):
        return None
    if _went(watch, series) or judge_late(watch.floor, who(series)):
        return None
    return clean(f"{who(series)}: nothing in use when idle ({counted(run.clean_checks, 'line')})")


def _pressure(watch: LoadWatch, series: Series) -> Assessment | None:
    """A pool that is full while requests run: what they need is in use, as it should be."""
    last, least = watch.last, watch.usage_min_since_full
    if not watch.full_lines or last is None or least is None:
        return None
    told = (
        f"{who(series)}: the pool was at least {FULL_USAGE:.0%} full on "
        f"{counted(watch.full_lines, 'line')}, with up to {watch.running_max} requests running"
    )
    if least <= RELAXED_USAGE:
        return Assessment(
            verdict="clean",
            kind="pressure",
            why=f"{told}, and came down to {least:.0%} afterwards: it was only busy",
        )
    return Assessment(
        verdict="inconclusive",
        kind="pressure",
        why=f"{told}: these requests explain the pressure; only lines with nothing running "
        "would show whether pages are also lost",
        next=steps_for_load(series.key.engine),
    )


def _went(watch: LoadWatch, series: Series) -> Assessment | None:
    """Requests that waited while nothing ran, and no longer do."""
    if watch.waiting.checks_closed < _NOTED_LINES_MIN:
        return None
    where = "" if watch.waiting.closed_at is None else f" at line {watch.waiting.closed_at.line}"
    return Assessment(
        verdict="transient",
        kind="held",
        why=f"{who(series)}: requests waited while nothing ran, and then continued{where}",
    )


def _lasts(run: GapRun) -> bool:
    """Whether quiet lines agree for long enough, as far as they have times."""
    if run.checks < _QUIET_LINES_MIN or run.checks_since_fall < _QUIET_LINES_MIN:
        return False
    return run.span_s is None or run.span_s >= _QUIET_SPAN_S_MIN


def _growth(run: GapRun) -> Growth:
    if run.checks < GROWTH_CYCLES_MIN:
        return "unknown"
    return "growing" if run.last > run.first else "one-off"


def _course(run: GapRun) -> str:
    return "it only rises" if run.last > run.first else "it does not fall"


def _stuck(watch: LoadWatch) -> tuple[int, int] | None:
    last = watch.last
    if last is None or not last.used_tokens:
        return None
    total = last.total_tokens
    return None if total is None else (last.used_tokens, total)


#: Pauses after which a silent check counts as one that balances.
_PAUSES_MIN = 3
#: An engine that never uses less than this share of its pool may have lost as much.
_FLOOR_SHARE_MAX = 0.1
#: Lines of a working engine from which something can be said at all.
_LINES_MIN = 3


def judge_busy(watch: LoadWatch, series: Series) -> Assessment:
    """An engine that was not seen idle, or not lately."""
    last = watch.last
    if last is None or watch.lines < _LINES_MIN:
        return _open(series, f"only {counted(watch.lines, 'line')}, none of them idle")
    if last.transferring or last.preallocated_usage:
        return unclear(
            "held",
            f"{who(series)}: the log ends with {counted(in_transfer(last) or 0, 'transfer')} "
            "in progress",
            steps_for_load(series.key.engine),
        )
    if series.key.engine.startswith("sglang"):
        if not is_disaggregated(last):
            return _serving_alone(watch, series)
        # 0.4's decode lines have no number of transfers, and its check does not run beside one.
        counted_ones = last.transferring if last.inflight is None else last.inflight
        if watch.pauses >= _PAUSES_MIN and counted_ones == 0:
            return _silent_checks(watch, series)
    seen = "last seen idle long before the end of" if watch.idle_at else "never seen idle on"
    lines = counted(watch.lines, "line")
    return _open(series, f"{seen} {lines}: this shows neither a leak nor a healthy pool")


def _silent_checks(watch: LoadWatch, series: Series) -> Assessment:
    """Its idle check ran in every pause, and reports only mismatches."""
    return clean(
        f"{who(series)}: resumed work after {watch.pauses} pauses of {PAUSE_S:.0f} s or more "
        "with nothing in transfer, and its idle check, which reports only mismatches, was silent",
    )


def _serving_alone(watch: LoadWatch, series: Series) -> Assessment:
    """No transfers that could hang in silence, and a check that speaks when something is missing."""
    if watch.steady and watch.step:
        return clean(
            f"{who(series)}: use grows by {watch.step:.0f} tokens a line for each of "
            f"{watch.running_max} requests, as decoding does, and for no other reason",
        )
    early, late = _floors(watch)
    if early is None or late is None:
        return _open(
            series, f"{counted(watch.lines, 'line')}, none of them says how full the pool is"
        )
    told = (
        f"never seen idle; the minimum in use was {amount(early, watch)} in the first third of the "
        f"lines and {amount(late, watch)} in the last"
    )
    if late > early:
        return _open(series, f"{told}, which different requests would explain as well as a leak")
    if _share(early, watch) > _FLOOR_SHARE_MAX:
        return _open(series, f"{told}, which its requests explain as well as pages lost earlier")
    return clean(f"{who(series)}: {told}: no more can be missing than that")


def silent_log(server: str, engine: str) -> Assessment:
    """A log without a single known line, given together with others that have some."""
    why = f"{server}: no line was recognised, so nothing shows that its server works"
    return _never_idle(engine, why)


def _open(series: Series, why: str) -> Assessment:
    return _never_idle(series.key.engine, f"{who(series)}: {why}")


def _never_idle(engine: str, why: str) -> Assessment:
    found = unclear("none", why, steps_for_load(engine))
    return dataclasses.replace(found, own_weight=Weight.NEVER_IDLE)


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
