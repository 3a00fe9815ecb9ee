"""`kvreplay trace inspect`: check a trace and describe it, or compare two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from replay.commands.options import example, progress_bars, say_json
from replay.commands.trace.shared import JSON, cell, print_table

_LABELS = {"after_us": "abort after us", "inter_arrival_us": "inter arrival us"}


@click.command(
    epilog=example(
        "kvreplay trace inspect conv.parquet",
        "kvreplay trace inspect conv.parquet --json | jq .prefix_reuse",
        "kvreplay trace inspect like.parquet --against conv.parquet",
    )
)
@click.argument("trace_path", metavar="TRACE", type=click.Path(path_type=Path))
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="OTHER",
    help="Compare TRACE with OTHER: quantiles, Kolmogorov-Smirnov distances (0 equal, 1 disjoint), "
    "and prefix hit rates in an infinite cache.",
)
@JSON
def inspect(trace_path: Path, against: Path | None, as_json: bool) -> None:
    """Check every row of a trace and describe it: sizes, rates, shared prefixes, sessions, aborts.

    Reads the trace once, in bounded memory; temporary files go to TMPDIR.
    """
    from traces.dataset import open_trace

    total = sum(open_trace(path).request_count for path in (trace_path, against) if path)
    with progress_bars(("Reading requests", total)) as (advance,):
        if against is None:
            from traces.statistics.inspection import inspect_trace

            facts = inspect_trace(trace_path, advance)
        else:
            from traces.statistics.inspection import compare_traces

            facts = compare_traces(trace_path, against, advance)
    if as_json:
        say_json(facts, indent=None)
    elif against is None:
        print_table(facts["path"], list(_flatten(facts)))
    else:
        _print_comparison(facts)


def _flatten(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Turn nested facts into rows `name, text, note`; spreads (min to mean) share one row."""
    for key, value in facts.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, dict) and "p50" in value:
            if value["p50"] is not None:
                text = "  ".join(f"{part} {_number(number)}" for part, number in value.items())
                yield name, text, ""
        elif key == "is_exact":
            rounded = [column for column, is_exact in value.items() if not is_exact]
            if rounded:
                yield "quantiles", "within 0.05 %", f"of {', '.join(rounded)}"
        elif isinstance(value, dict):
            yield from _flatten(value, f"{name}: ")
        elif key != "path":
            yield name, _number(value), ""


def _print_comparison(facts: dict[str, Any]) -> None:
    """Print what differs between two traces as a table of four columns."""
    from rich.console import Console
    from rich.table import Table

    title = f"{facts['trace']['path']} against {facts['against']['path']}"
    table = Table(title=cell(title), title_justify="left")
    table.add_column("", style="bold", overflow="fold")
    for heading in ("trace", "against", "difference"):
        table.add_column(heading, justify="right", overflow="fold")
    for row in _comparison_rows(facts):
        table.add_row(*map(cell, row))
    Console().print(table)


def _comparison_rows(facts: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    trace, against = facts["trace"], facts["against"]
    yield "requests", _number(trace["requests"]), _number(against["requests"]), ""
    for column, compared in facts["columns"].items():
        label = _LABELS.get(column, column.replace("_", " "))
        distance = compared["ks_distance"]
        shown = "none" if distance is None else f"KS {distance:.4f}"
        if not compared["is_exact"]:
            shown += " (rounded)"
        yield label, "", "", shown
        for part, value in compared["trace"].items():
            other = compared["against"][part]
            if value is not None or other is not None:
                yield f"  {part}", _number(value), _number(other), ""
    for group in ("rate_per_s", "dispersion"):
        for name, pair in facts[group].items():
            label = f"{group.replace('_', ' ')}: {name.replace('_', ' ')}"
            one, other, difference = (_number(value) for value in pair.values())
            yield label, one, other, difference
    for name in ("prefix_hit_rate", "abort_share"):
        pair = facts[name]
        points = pair["difference_points"]
        shown = "none" if points is None else f"{points:+.2f} points"
        yield name.replace("_", " "), _percent(pair["trace"]), _percent(pair["against"]), shown


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.2%}"


def _number(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)
