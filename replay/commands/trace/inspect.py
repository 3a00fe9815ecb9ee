"""`kvreplay trace inspect`: check a trace and describe it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from replay.commands.trace.shared import JSON, example, print_table


@click.command(
    epilog=example(
        "kvreplay trace inspect conv.parquet",
        "kvreplay trace inspect conv.parquet --json | jq .prefix_reuse",
    )
)
@click.argument("trace_path", metavar="TRACE", type=click.Path(path_type=Path))
@JSON
def inspect(trace_path: Path, as_json: bool) -> None:
    """Check every row of a trace and describe it: sizes, rates, shared prefixes, sessions, aborts."""
    from traces.statistics import inspect_trace

    facts = inspect_trace(trace_path)
    if as_json:
        click.echo(json.dumps(facts))
        return
    print_table(facts["path"], [(name, value, "") for name, value in _flatten(facts)])


def _flatten(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Turn nested facts into rows `name, text`; spreads (min to mean) share one row."""
    for key, value in facts.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, dict) and "p50" in value:
            if value["p50"] is not None:
                text = "  ".join(f"{part} {_number(number)}" for part, number in value.items())
                yield name, text
        elif isinstance(value, dict):
            yield from _flatten(value, f"{name}: ")
        elif key != "path":
            yield name, _number(value)


def _number(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)
