"""What the accounting checks of one pool mean.

gap at each quiet check since it was last nothing       verdict        growth
none                                                    clean
gone                                                    transient
one check                                               inconclusive   unknown
two checks                                              persistent     unknown
three or more, never smaller                            persistent     one-off or growing
"""

from __future__ import annotations

from replay.diagnosis.judging.assessment import (
    Assessment,
    DiagnosisKind,
    Growth,
    clean,
    direction_of,
)
from replay.diagnosis.judging.gap_run import GapRun, seconds_between
from replay.diagnosis.judging.load_watch import waiting_requests
from replay.diagnosis.judging.next_steps import steps_for_gap
from replay.diagnosis.judging.page_sizes import pages_text
from replay.diagnosis.judging.series import Checks, Series, who
from replay.recording.kinds import GROWTH_CYCLES_MIN
from replay.recording.words import counted
from replay.server_lines.records import TOKEN_POOLS, Load, Observation

#: Checks that must agree before a gap is called persistent.
_PERSISTENT_CHECKS_MIN = 2
#: A status line this close before a check tells what the engine was about.
_JUST_BEFORE_S = 2.0
#: What a line counts, beside the total.
_COUNTERS = ("available", "evictable", "protected", "session_held", "uncached")


def judge_checks(series: Series) -> Assessment | None:
    """The assessment of a pool's accounting checks in the latest life that had any; None without."""
    lives = [life for life, _ in series.earlier] + [series.checks]
    assessments = [found for life in lives if (found := _judge_life(life, series)) is not None]
    if not assessments:
        return None
    # An engine that died of a gap and was started again has not healed.
    return max(reversed(assessments), key=lambda found: found.weight)


def _judge_life(checks: Checks, series: Series) -> Assessment | None:
    shown = checks.widest
    if shown is None:
        balanced = checks.quiet.clean_checks + checks.busy.clean_checks
        if not balanced:
            return None
        return clean(f"{who(series)}: every check balances ({counted(balanced, 'check')})")
    if not checks.quiet.is_open and not checks.busy.is_open:
        return (
            _gone(checks, shown, series)
            if checks.doubt is None
            else _doubted(shown, checks.doubt, series)
        )
    last = checks.last_wrong or shown
    run = checks.quiet if checks.quiet.is_open else checks.busy
    stays = run is checks.quiet and _stays(run)
    growth = _growth(run) if stays else "unknown"
    kind = _kind(checks, last, stays)
    return Assessment(
        verdict="persistent" if stays else "inconclusive",
        kind=kind,
        growth=growth,
        direction=direction_of(last.gap),
        why=f"{equation(last, series)}: {_meaning(checks, run, last, stays, kind, series)}",
        next=() if stays and growth != "unknown" else steps_for_gap(last, kind),
        observation=last,
        gap_tokens=last.gap,
    )


def _stays(run: GapRun) -> bool:
    """Whether the latest checks show a gap that is not getting smaller."""
    if run.falls:
        return run.checks_since_fall >= GROWTH_CYCLES_MIN
    return run.checks >= _PERSISTENT_CHECKS_MIN


def _growth(run: GapRun) -> Growth:
    if run.checks < GROWTH_CYCLES_MIN:
        return "unknown"
    return "growing" if abs(run.last) > abs(run.first) else "one-off"


def _gone(checks: Checks, shown: Observation, series: Series) -> Assessment:
    closed = checks.quiet.closed_at or checks.busy.closed_at
    where = "" if closed is None else f" at line {closed.line}"
    if checks.disproof is not None:
        how = (
            f"line {checks.disproof.place.line} has {_use_text(checks.disproof)} in use, less than "
            "the gap, so it had closed by then"
        )
    else:
        how = f"the equation holds again{where}"
    worked = _work_before(checks, shown)
    alarm = worked is not None and checks.quiet.closed + checks.busy.closed == 1
    return Assessment(
        verdict="transient",
        kind="check-false-alarm" if alarm else "held",
        direction=direction_of(shown.gap),
        why=f"{equation(shown, series)}; {how}",
        observation=shown,
        gap_tokens=shown.gap,
    )


def _doubted(shown: Observation, load: Load, series: Series) -> Assessment:
    """What was missing and what then ran are nearly the same."""
    return Assessment(
        verdict="inconclusive",
        kind="check-false-alarm",
        direction=direction_of(shown.gap),
        growth="unknown",
        why=f"{equation(shown, series)}: {pages_text(shown.gap)}; but line {load.place.line} has "
        f"{_use_text(load)} in use by {load.running} running requests, hardly more, so these may be "
        "pages of requests whose KV was in transfer",
        next=steps_for_gap(shown, "check-false-alarm"),
        observation=shown,
        gap_tokens=shown.gap,
    )


def _kind(checks: Checks, last: Observation, stays: bool) -> DiagnosisKind:
    if negative_counters(last):
        return "counter-drift"
    if last.gap < 0:
        return "over-freed"
    if stays:
        return "orphaned"
    if checks.widest is not None and _work_before(checks, checks.widest) is not None:
        return "check-false-alarm"
    return "unknown"


def _work_before(checks: Checks, shown: Observation) -> Load | None:
    """The status line just before an idle check, if requests were waiting or running then."""
    load = checks.load_before
    if load is None or shown.busy or shown.place.source != load.place.source:
        return None
    passed_s = seconds_between(load.place, shown.place)
    if passed_s is not None and passed_s > _JUST_BEFORE_S:
        return None
    return load if waiting_requests(load) else None


def negative_counters(observation: Observation) -> list[str]:
    """The counters of a line that are below zero, which no set of pages can be."""
    return [name for name in _COUNTERS if getattr(observation, name) < 0]


def equation(observation: Observation, series: Series) -> str:
    """Both sides of the equation of one line."""
    shown = [name for name in _COUNTERS if getattr(observation, name) or name == "available"]
    terms = " + ".join(f"{name.replace('_', ' ')} {getattr(observation, name)}" for name in shown)
    accounted = observation.total - observation.gap
    side = f"{terms} = {accounted}" if len(shown) > 1 else terms
    unit = "slots" if observation.pool in ("req_to_token", "mamba") else "tokens"
    size = abs(observation.gap)
    missing = f"{size} {unit} are missing" if observation.gap > 0 else f"{size} {unit} too many"
    return (
        f"{who(series)}: {side}, but total {observation.total}: "
        f"{missing if observation.gap else 'nothing is missing'}"
    )


def _meaning(
    checks: Checks,
    run: GapRun,
    last: Observation,
    stays: bool,
    kind: DiagnosisKind,
    series: Series,
) -> str:
    parts = [pages_text(last.gap)] if last.pool in TOKEN_POOLS else []
    if last.printed_available not in (None, last.available):
        parts.append(
            f"the line's own available_size={last.printed_available} includes evictable, which is "
            "not counted twice here"
        )
    if stays:
        parts.append(_staying(run))
    elif run is checks.busy:
        parts.append("seen during work, which does not show whether it stays")
    elif run.falls:
        parts.append(f"it fell from {run.widest:.0f} to {abs(run.last):.0f} and has not closed")
    else:
        parts.append(_single(run, series))
    if kind == "counter-drift":
        names = ", ".join(negative_counters(last))
        parts.append(f"{names} is below zero: a counter has drifted, no page need be lost")
    if kind == "check-false-alarm":
        parts.append(
            "requests were waiting just before, whose pages an idle check may not count, so this "
            "may be a false alarm"
        )
    if checks.raised and not stays:
        parts.append("the engine died of it, so nothing after it could be read")
    return "; ".join(parts)


def _staying(run: GapRun) -> str:
    if run.checks < GROWTH_CYCLES_MIN:
        return (
            f"still there at a second quiet check; {GROWTH_CYCLES_MIN} are needed to see whether "
            "it grows"
        )
    if abs(run.last) > abs(run.first):
        return f"grew from {abs(run.first):.0f} to {abs(run.last):.0f} over {run.checks} checks"
    return f"stayed {abs(run.last):.0f} over {run.checks} quiet checks"


def _single(run: GapRun, series: Series) -> str:
    told = "a single check cannot tell a one-off gap from a growing one"
    if series.deaths > 1:
        told = f"the engine died {series.deaths} times, each time from an empty pool; {told}"
    if run.lines > run.checks:
        told = f"{run.lines} lines of the same moment or without a time count as one; {told}"
    return told


def _use_text(load: Load) -> str:
    if load.used_tokens is not None:
        return f"{load.used_tokens} tokens"
    return f"{load.usage or 0:.0%} of the pool"
