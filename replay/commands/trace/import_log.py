"""`kvreplay trace import`: turn a log into a trace."""

from __future__ import annotations

import json
from pathlib import Path

import click

from replay.commands.trace.shared import JSON, OUTPUT, example, print_table, progress
from traces.importers import FORMATS


@click.command(
    "import",
    epilog=example(
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
@OUTPUT
@JSON
def import_log(source: Path, format_name: str, output: Path, as_json: bool) -> None:
    """Convert a log that a serving system wrote to a trace.

    Rows that cannot be requests are counted by reason, never dropped silently; a line that is not
    of the format at all stops the import and nothing is written.
    """
    from traces.importers import import_log as convert

    total_bytes = source.stat().st_size if source.is_file() else None
    with progress("Reading", total_bytes) as advance:
        report = convert(format_name, source, output, advance)
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
    print_table(str(output), [(name, f"{count:,}", note) for name, count, note in rows])
