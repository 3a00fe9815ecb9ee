"""`kvreplay trace import`: turn logs into a trace."""

from __future__ import annotations

from pathlib import Path

import click

from replay.commands.options import example, progress_bars, say_json
from replay.commands.trace.shared import FORCE, JSON, OUTPUT, print_table
from traces.formats import AUTO, FORMATS


@click.command(
    epilog=example(
        "kvreplay trace import conversation_trace.jsonl -o conv.parquet",
        "kvreplay trace import monday.csv.gz tuesday.csv.gz -o days.parquet \\",
        "    --map when=arrival_time --map prompt=input_tokens --map answer=output_tokens",
    )
)
@click.argument(
    "sources", metavar="LOG...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--format",
    "format_name",
    default=AUTO,
    show_default=True,
    type=click.Choice([AUTO, *FORMATS]),
    metavar="FORMAT",
    help="Format of the logs; auto detects it. "
    + " ".join(f"{name}: {text}." for name, text in FORMATS.items()),
)
@click.option(
    "--map",
    "assignments",
    multiple=True,
    metavar="COLUMN=FIELD",
    help="For plain CSV, JSONL and Parquet: the request field that a column holds; repeatable.",
)
@click.option(
    "--block-size",
    type=click.IntRange(min=1),
    metavar="TOKENS",
    help="Tokens per block hash. Required for plain logs with hashes; for logs with prompt tokens "
    "(SGLang), the size of the blocks to hash (default 64).",
)
@click.option(
    "--skip-bad-lines",
    is_flag=True,
    help="Skip and count unreadable lines instead of stopping at the first.",
)
@OUTPUT
@FORCE
@JSON
def import_log(
    sources: tuple[Path, ...],
    format_name: str,
    assignments: tuple[str, ...],
    block_size: int | None,
    skip_bad_lines: bool,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Convert the logs of serving systems to one trace, sorted by arrival.

    Logs may be compressed (gzip or zstd). Several logs are merged by time. Rows that are not valid
    requests are skipped and counted by reason. A line that is not in the format stops the import,
    and nothing is written.
    """
    columns = _column_map(assignments)
    from traces.formats.pipeline import import_logs
    from traces.formats.reader import ImportOptions

    options = ImportOptions(columns, block_size, skip_bad_lines)
    total_bytes = sum(source.stat().st_size for source in sources if source.is_file())
    with progress_bars(("Reading", total_bytes), ("Writing", None)) as (read, written):
        report = import_logs(sources, output, format_name, options, read, written, force=force)
    if as_json:
        say_json({"path": str(output), **report.to_json()}, indent=None)
        return
    rows = [
        ("format", report.format, ""),
        ("rows read", f"{report.rows_read:,}", f"from {report.files} files" * (report.files > 1)),
        ("written", f"{report.rows_written:,}", ""),
        ("  moved to time order", f"{report.rows_reordered:,}", ""),
    ]
    if report.shifted_us:
        rows.append(
            ("  times shifted by", f"-{report.shifted_us / 1e6:,.6f} s", "first arrival: 0")
        )
    rows += [
        (f"  {reason}", f"{count.rows:,}", f"first in {count.first_at}")
        for reason, count in report.changed.items()
    ]
    rows.append(("skipped", f"{report.rows_read - report.rows_written:,}", ""))
    rows += [
        (f"  {reason}", f"{count.rows:,}", f"first in {count.first_at}")
        for reason, count in report.skipped.items()
    ]
    print_table(str(output), rows)


def _column_map(assignments: tuple[str, ...]) -> dict[str, str]:
    """Turn `COLUMN=FIELD` texts into a dictionary; a column's name may hold equals signs."""
    columns: dict[str, str] = {}
    for assignment in assignments:
        column, equals, field = assignment.rpartition("=")
        if not equals or not column or not field:
            raise click.BadParameter(
                f"{assignment!r} is not COLUMN=FIELD, such as prompt_len=input_tokens",
                param_hint="--map",
            )
        if column in columns:
            raise click.BadParameter(f"column {column!r} is mapped twice", param_hint="--map")
        columns[column] = field
    return columns
