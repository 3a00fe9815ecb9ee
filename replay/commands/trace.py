"""`kvreplay trace`: make, import and look at request traces."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from traces.importers import FORMATS
from traces.synthesis_options import ARRIVALS, LENGTHS, SynthesisOptions

_Function = TypeVar("_Function", bound=Callable[..., Any])

# A dataclass with slots hides its defaults; an instance has them.
_DEFAULTS = SynthesisOptions()

_OUTPUT = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="TRACE",
    help="Trace to write (Parquet); an existing file is replaced when all went well.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def _example(*lines: str) -> str:
    # click keeps the line breaks of a paragraph that starts with a backspace.
    return "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))


@click.group(epilog="Start with: kvreplay trace synth -o trace.parquet")
def trace() -> None:
    """Make, import and look at request traces."""


def _synthesis_option(
    flag: str, name: str, text: str, **settings: Any
) -> Callable[[_Function], _Function]:
    return click.option(
        flag, name, default=getattr(_DEFAULTS, name), show_default=True, help=text, **settings
    )


@trace.command(
    epilog=_example(
        "kvreplay trace synth -o trace.parquet --requests 100000 --rate 20 \\",
        "    --arrivals bursty --abort-rate 0.02 --seed 7",
    )
)
@_OUTPUT
@_synthesis_option("--requests", "requests", "Number of requests.")
@_synthesis_option("--rate", "rate_per_s", "Mean arrivals per second.")
@_synthesis_option("--arrivals", "arrivals", "Arrival process.", type=click.Choice(list(ARRIVALS)))
@_synthesis_option("--lengths", "lengths", "Length distribution.", type=click.Choice(list(LENGTHS)))
@_synthesis_option("--prompt-tokens", "prompt_tokens_median", "Median new tokens of a turn.")
@_synthesis_option("--output-tokens", "output_tokens_median", "Median tokens of an answer.")
@_synthesis_option(
    "--system-tokens", "system_tokens_median", "Median length of a tenant's system prompt."
)
@_synthesis_option("--input-tokens-max", "input_tokens_max", "Longest prompt.")
@_synthesis_option("--tenants", "tenants", "Tenants, each with a system prompt of its own.")
@_synthesis_option("--turns", "turns_mean", "Mean turns of a session.")
@_synthesis_option("--abort-rate", "abort_rate", "Share of requests the client aborts, 0 to 1.")
@_synthesis_option("--abort-after", "abort_s_mean", "Mean seconds from arrival to abort.")
@_synthesis_option("--block-size", "block_size", "Tokens one block hash covers.")
@_synthesis_option("--seed", "seed", "Same seed and options, same bytes.")
@_JSON
def synth(output: Path, as_json: bool, **settings: Any) -> None:
    """Make a synthetic trace: tenants, multi-turn sessions, shared prefixes, client aborts."""
    options = SynthesisOptions(**settings)

    from traces.dataset import open_trace
    from traces.synthesis import write_synthetic_trace

    with _progress("Making requests", options.requests) as advance:
        written = write_synthetic_trace(options, output, advance)
    if as_json:
        made = open_trace(output)
        click.echo(
            json.dumps(
                {
                    "path": str(output),
                    "requests": written,
                    "seed": options.seed,
                    "source": made.source,
                    "block_size": made.block_size,
                    "sha256": made.sha256(),
                }
            )
        )
    else:
        click.echo(f"{output}: {written} requests, seed {options.seed}")


@trace.command(
    "import",
    epilog=_example(
        "kvreplay trace import conversation_trace.jsonl --format mooncake -o conv.parquet"
    ),
)
@click.argument("source", metavar="LOG", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    required=True,
    type=click.Choice(list(FORMATS)),
    help="Format of the log. " + " ".join(f"{n}: {f.description}." for n, f in FORMATS.items()),
)
@_OUTPUT
@_JSON
def import_(source: Path, format_name: str, output: Path, as_json: bool) -> None:
    """Convert a log that a serving system wrote to a trace.

    Rows that cannot be requests are counted by reason, never dropped silently; a line that is not
    of the format at all stops the import and nothing is written.
    """
    from traces.importers import import_log

    total_bytes = source.stat().st_size if source.is_file() else None
    with _progress("Reading", total_bytes) as advance:
        report = import_log(format_name, source, output, advance)
    if as_json:
        click.echo(json.dumps({"path": str(output), **report.to_json()}))
        return
    rows = [
        ("read", report.rows_read, ""),
        ("written", report.rows_written, ""),
        ("moved to time order", report.rows_reordered, ""),
        ("skipped", sum(report.skipped.values()), ""),
    ]
    for reason, count in report.skipped.items():
        rows.append((f"  {reason}", count, f"first in line {report.skipped_at[reason]}"))
    _print_table(str(output), [(name, f"{count:,}", note) for name, count, note in rows])


@trace.command(
    epilog=_example(
        "kvreplay trace inspect conv.parquet",
        "kvreplay trace inspect conv.parquet --json | jq .prefix_reuse",
    )
)
@click.argument("trace_path", metavar="TRACE", type=click.Path(path_type=Path))
@_JSON
def inspect(trace_path: Path, as_json: bool) -> None:
    """Check every row of a trace and describe it: sizes, rates, shared prefixes, sessions, aborts."""
    from traces.statistics import inspect_trace

    facts = inspect_trace(trace_path)
    if as_json:
        click.echo(json.dumps(facts))
        return
    _print_table(facts["path"], [(name, value, "") for name, value in _flatten(facts)])


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


def _print_table(title: str, rows: list[tuple[str, str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), show_header=False, title_justify="left")
    width = 3 if any(note for _, _, note in rows) else 2
    for style in ("bold", None, "dim")[:width]:
        table.add_column(style=style, overflow="fold")
    for row in rows:
        # Text, not markup: names come from files.
        table.add_row(*(Text(cell) for cell in row[:width]))
    Console().print(table)


@contextmanager
def _progress(label: str, total: int | None) -> Iterator[Callable[[int], None] | None]:
    """Show a progress bar on stderr when it is a terminal; give the function that moves it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)
