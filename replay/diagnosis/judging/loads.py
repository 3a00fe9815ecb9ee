"""What status lines and scraped metrics of one rank and pool mean.

In the order of how much they say: what is in use when nothing runs or waits; who waits while nothing
runs; transfers that never leave their queue while others do; a pool that is full while it works.
"""

from __future__ import annotations

from replay.diagnosis.judging.busy import judge_busy
from replay.diagnosis.judging.finding import Finding, Growth
from replay.diagnosis.judging.gap_run import GapRun
from replay.diagnosis.judging.load_watch import FULL_USAGE, RELAXED_USAGE, LoadWatch, amount
from replay.diagnosis.judging.next_steps import steps_for_load
from replay.diagnosis.judging.series import Series, who
from replay.diagnosis.judging.transfer_levels import judge_floor, judge_late
from replay.recording.verdict_words import GROWTH_CYCLES_MIN
from replay.recording.words import counted

#: Quiet lines that must agree, and how long they must span, before what is held counts as lost.
_QUIET_LINES_MIN = 3
_QUIET_SPAN_S_MIN = 25.0
#: What is seen in one line and gone in the next is how transfers work.
_NOTED_LINES_MIN = 2
#: Lines after an idle one, and their share of all, from which it is no news any more.
_STALE_LINES = 5


def judge_loads(series: Series) -> Finding | None:
    """The finding of a pool's status lines since its engine last started; None without any."""
    watch = series.loads
    if not watch.lines and series.earlier:
        watch = series.earlier[-1][1]
    if not watch.lines:
        return None
    return (
        _waiting(watch, series)
        or _idle(watch, series)
        or judge_floor(watch, who(series), series.key.engine)
        or _pressure(watch, series)
        or judge_late(watch, who(series))
        or _went(watch, series)
        or judge_busy(watch, series)
    )


def _waiting(watch: LoadWatch, series: Series) -> Finding | None:
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
        "the pool is full though nothing runs: it has drained"
        if full
        else "transfers hang, whatever the counts of pages say"
    )
    return Finding(
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


def _idle(watch: LoadWatch, series: Series) -> Finding | None:
    """What is in use when nothing runs and nobody waits."""
    run, last = watch.idle, watch.last
    if last is None or not (run.is_open or run.closed or run.clean_checks):
        return None
    if not run.is_open:
        return _idle_now(watch, series)
    lost = _lasts(run)
    told = f"{who(series)}: {amount(run.last, watch)} in use with nothing running or waiting, on "
    return Finding(
        verdict="persistent" if lost else "inconclusive",
        kind="orphaned" if lost else "unknown",
        direction="leak",
        growth=_growth(run) if lost else "unknown",
        why=f"{told}{counted(run.checks, 'line')}; "
        + (_course(run) if lost else "too few to tell whether somebody still holds it for a while"),
        next=() if lost else steps_for_load(series.key.engine),
        gap_tokens=int(run.last) if last.used_tokens is not None else 0,
        stuck_of_total=_stuck(watch),
    )


def _idle_now(watch: LoadWatch, series: Series) -> Finding | None:
    """Nothing is in use when idle: it never was, or it came back."""
    run = watch.idle
    if run.checks_closed >= _NOTED_LINES_MIN:
        where = "" if run.closed_at is None else f" at line {run.closed_at.line}"
        return Finding(
            verdict="transient",
            kind="held",
            direction="leak",
            why=f"{who(series)}: {amount(run.widest_closed, watch)} was in use with nothing "
            f"running, and came back{where}",
        )
    if not run.clean_checks or watch.lines_since_idle > max(_STALE_LINES, watch.lines // 10):
        return None
    if _went(watch, series) is not None:
        return None
    if judge_late(watch, who(series)) is not None:
        return None
    return Finding(
        verdict="clean",
        kind="none",
        why=f"{who(series)}: nothing in use when idle ({counted(run.clean_checks, 'line')})",
    )


def _pressure(watch: LoadWatch, series: Series) -> Finding | None:
    """A pool that is full while requests run: what they need is in use, as it should be."""
    last, least = watch.last, watch.usage_min_since_full
    if not watch.full_lines or last is None or least is None:
        return None
    told = (
        f"{who(series)}: the pool was up to {FULL_USAGE:.0%} full or more on "
        f"{counted(watch.full_lines, 'line')}, with up to {watch.running_max} requests running"
    )
    if least <= RELAXED_USAGE:
        return Finding(
            verdict="clean",
            kind="pressure",
            why=f"{told}, and came down to {least:.0%} afterwards: it was only busy",
        )
    return Finding(
        verdict="inconclusive",
        kind="pressure",
        why=f"{told}: pressure, which these requests explain; only lines with nothing running "
        "would show whether something is lost besides",
        next=steps_for_load(series.key.engine),
    )


def _went(watch: LoadWatch, series: Series) -> Finding | None:
    """Requests that waited while nothing ran, and no longer do."""
    if watch.waiting.checks_closed < _NOTED_LINES_MIN:
        return None
    where = "" if watch.waiting.closed_at is None else f" at line {watch.waiting.closed_at.line}"
    return Finding(
        verdict="transient",
        kind="held",
        why=f"{who(series)}: requests waited while nothing ran, and went on{where}",
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
    return "it only rises" if run.last > run.first else "it stays"


def _stuck(watch: LoadWatch) -> tuple[int, int] | None:
    last = watch.last
    if last is None or not last.used_tokens:
        return None
    total = last.total_tokens
    return None if total is None else (last.used_tokens, total)
