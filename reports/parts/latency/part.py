"""Latency and throughput of one recording, with faults and without, as a report shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports.drawings.step_chart import MEDIUM, NARROW
from reports.evidence import Evidence
from reports.parts.base import Check, Part, equal
from reports.parts.latency.baseline import how_to_make_it
from reports.parts.latency.drawing import draw_curves, look
from reports.parts.latency.measures import (
    PERCENTS,
    Group,
    PhaseRate,
    Sorted,
    baseline_group,
    groups_of,
    is_the_slowest,
    quantile,
    rates_of,
)
from reports.tables import Table, make_table
from reports.words import NOTHING, counted, number
from traces.text import shortened

_NAME_MAX = 90


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of the chart, for its legend."""

    colour: str
    dashes: str
    name: str
    meaning: str
    requests: str


@dataclass(frozen=True, slots=True)
class LatencyPart:
    """Quantiles by group, throughput by phase, and what there is to compare with."""

    #: What faults did to the first token, in one sentence.
    headline: str
    curves: tuple[Curve, ...]
    label: str
    wide: Markup | None
    narrow: Markup | None
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    #: Whether faults were planned and nothing without them is at hand, and the lines that make it.
    lacks_baseline: bool
    make_baseline: str | None
    groups: tuple[Group, ...]
    rates: tuple[PhaseRate, ...]


def make_latency(evidence: Evidence, baseline: Evidence | None = None) -> LatencyPart | None:
    """Latency and throughput; None where the recording has no request.

    Args:
        evidence: the recording.
        baseline: the same replay without faults, see `reports.latency.baseline.baseline_of`.
    """
    groups = groups_of(evidence)
    if not any(group.requests for group in groups):
        return None
    rates = rates_of(evidence)
    shown = groups
    if baseline is not None:
        shown += (baseline_group(baseline, shortened(baseline.name, _NAME_MAX)),)
    has_faults = bool(evidence.run["plan"]["rules"])
    lacks = has_faults and baseline is None
    return LatencyPart(
        headline=_headline(shown, has_faults),
        curves=tuple(_curve(at, group) for at, group in enumerate(shown)),
        label=_label(shown),
        wide=draw_curves(shown, MEDIUM),
        narrow=draw_curves(shown, NARROW),
        tables=(
            _quantiles("Time to the first token", "ms", shown, lambda each: each.first_token),
            _quantiles(
                "Mean time between tokens, per request", "ms", shown, lambda each: each.inter_token
            ),
            _quantiles("End to end", "s", shown, lambda each: each.end_to_end),
            _throughput(rates, () if baseline is None else rates_of(baseline)),
        ),
        notes=tuple(_notes(shown)),
        lacks_baseline=lacks,
        make_baseline=how_to_make_it(evidence) if lacks else None,
        groups=groups,
        rates=rates,
    )


def check_latency(evidence: Evidence, part: LatencyPart) -> tuple[Check, ...]:
    """The groups and the phases have every finished request in them, once."""
    by_name = {group.name: group for group in part.groups}
    finished = evidence.summary["requests"]["finished"]
    halves = [by_name[name] for name in ("touched", "not touched") if name in by_name]
    halves = halves or [part.groups[0]]
    counted_once = sum(group.finished for group in halves)
    cycles = by_name.get("clean cycles after")
    everywhere = finished + (0 if cycles is None else cycles.finished)
    in_phases = sum(rate.finished for rate in part.rates)
    ended = len(part.groups[0].end_to_end)
    names = " + ".join(group.name for group in halves)
    return (
        equal(
            f"requests finished, by group ({names}) = finished in the summary",
            counted_once,
            finished,
        ),
        equal("end-to-end times of the trace = finished in the summary", ended, finished),
        equal("requests finished, phase by phase = finished in all cycles", in_phases, everywhere),
    )


def _headline(groups: Sequence[Group], has_faults: bool) -> str:
    first, last = groups[0], groups[-1]
    if not has_faults:
        return "No faults were planned: these are the numbers without faults."
    told = [f"With faults, {_first_tokens(first)}"]
    if last.name == "without faults":
        told.append(f"without, {_first_tokens(last)}")
    return "; ".join(told) + "."


def _first_tokens(group: Group) -> str:
    values = group.first_token
    if not len(values):
        return f"none of {counted(group.requests, 'request')} got a first token"
    middle, tail = quantile(values, 50), quantile(values, 99)
    assert middle is not None
    assert tail is not None
    of = counted(group.requests, "request")
    who = f"{number(len(values))} of {of}" if len(values) < group.requests else of
    return (
        f"{who} got a first token: half of them within {middle / 1e3:,.1f} ms, 99 % within "
        f"{tail / 1e3:,.1f} ms"
    )


def _curve(at: int, group: Group) -> Curve:
    colour, dashes = look(at)
    have = len(group.first_token)
    return Curve(
        colour,
        " ".join(map(str, dashes)),
        group.name,
        group.meaning,
        f"{number(have)} of {counted(group.requests, 'request')}",
    )


def _label(groups: Sequence[Group]) -> str:
    told = [f"{group.name}: {_first_tokens(group)}" for group in groups]
    return f"Share of requests still without a first token, over the time since their arrival. {'. '.join(told)}."


def _quantiles(
    caption: str, unit: str, groups: Sequence[Group], values_of: Callable[[Group], Sorted]
) -> Table:
    """One measure: a row for each group."""
    digits, scale = (1, 1e3) if unit == "ms" else (3, 1e6)

    def cell(value: float | None) -> str:
        return NOTHING if value is None else f"{value / scale:,.{digits}f}"

    rows = []
    for group in groups:
        values = values_of(group)
        cells = [cell(quantile(values, percent)) for percent in (*PERCENTS, 100)]
        rows.append((group.name, number(len(values)), *cells))
    titles = "".join(f"|#p{percent}, {unit}" for percent in PERCENTS)
    titles = f"group|#requests{titles}|#slowest, {unit}"
    return make_table(caption, titles, rows, len(rows))


def _throughput(rates: Sequence[PhaseRate], baseline: Sequence[PhaseRate]) -> Table:
    named = [(rate.name, rate) for rate in rates]
    named += [(f"{rate.name}, without faults", rate) for rate in baseline]
    rows = tuple(
        (
            name,
            f"{rate.length_us / 1e6:,.3f}",
            number(rate.finished),
            *(
                NOTHING if not rate.length_us else f"{count * 1e6 / rate.length_us:,.2f}"
                for count in (rate.finished, rate.output_tokens, rate.input_tokens)
            ),
        )
        for name, rate in named
        if rate.length_us or rate.finished
    )
    titles = "phase|#length, s|#requests finished|#requests/s|#output tokens/s|#input tokens/s"
    return make_table("Throughput, in virtual time", titles, rows, len(rows))


def _notes(groups: Sequence[Group]) -> list[str]:
    """What the numbers mean, and where they rest on few requests."""
    few = [
        f"{group.name} ({counted(len(group.first_token), 'request')})"
        for group in groups
        if is_the_slowest(len(group.first_token), PERCENTS[-1])
    ]
    notes = [
        "Time to the first token: from arrival until decode first batches the request, which is "
        "when it sends out the token that prefill computed with the prompt.",
        "Between tokens: the mean of each finished request with more than one output token; "
        "individual intervals are not recorded.",
        "Quantiles are observed values (nearest rank). Throughput counts a request and all its "
        "tokens in the phase in which it finished; a trace that offers less load than the engine "
        "can take limits it.",
    ]
    if few:
        notes.append(
            f"With fewer than 100 requests p99 is the slowest one, as in: {', '.join(few)}."
        )
    return notes


LATENCY = Part(
    "latency",
    lambda context: make_latency(context.evidence, context.baseline),
    check_latency,
    link="Latency",
    key="latency",
)
