"""`kvreplay matrix list`: what would run, and what is expected of it."""

from __future__ import annotations

from pathlib import Path

import click

from replay.commands.matrix.shared import JSON, SHARD, print_warnings
from replay.commands.options import example, say, say_json


@click.command(
    "list", epilog=example("kvreplay matrix list examples/fault-matrix.kvmatrix.toml --shard 1/3")
)
@click.argument("file", type=click.Path(path_type=Path))
@SHARD
@JSON
def list_cells(file: Path, shard: str | None, as_json: bool) -> None:
    """Check the matrix FILE and list its cells with their expectations; nothing runs.

    Exit codes: 0 the file is valid, 2 it is not.
    """
    from replay.matrix.matrix import cells_of, check_cells, load_matrix, parse_shard

    chosen = None if shard is None else parse_shard(shard)
    matrix = load_matrix(file)
    cells = cells_of(matrix, chosen)
    check_cells(matrix.source, cells)
    if as_json:
        rows = [
            {
                "number": cell.number,
                "cell": cell.name,
                "expected": str(matrix.expectations[cell.name]),
                "expected_line": matrix.expectations[cell.name].line,
                "reproduce": cell.options.command_line(),
            }
            for cell in cells
        ]
        document = {
            "matrix": matrix.source.name,
            "shard": shard,
            "count": len(cells),
            "cells": rows,
            "warnings": list(matrix.warnings),
        }
        say_json(document)
        return
    for cell in cells:
        expectation = matrix.expectations[cell.name]
        where = "by default" if expectation.line is None else f"line {expectation.line}"
        say(f"{cell.number:>6}  {cell.name}\n        {expectation} ({where})")
    of_all = f" of {len(matrix.cells)}" if len(cells) != len(matrix.cells) else ""
    say(f"{len(cells)}{of_all} cells")
    print_warnings(matrix.warnings)
