"""The traces of a matrix as files: those that are given, and those that the file describes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from replay.errors import MatrixError
from replay.matrix.cells import Cell
from replay.matrix.file import MatrixSource
from replay.matrix.jobs import TraceOnDisk
from replay.run.references import split_reference, synthesis_options
from traces.dataset import open_trace
from traces.errors import TraceError
from traces.files.writing import make_folder
from traces.synthesis_options import SynthesisOptions


def make_traces(
    source: MatrixSource, cells: Iterable[Cell], directory: Path
) -> dict[str, TraceOnDisk]:
    """The trace of every cell, by what it is called; makes those of `[trace.NAME]` in `directory`.

    Raises:
        MatrixError: a trace cannot be read or made.
    """
    found: dict[str, TraceOnDisk] = {}
    for cell in cells:
        reference = cell.options.trace
        if reference in found:
            continue
        parts = split_reference(reference)
        try:
            if parts is None:
                found[reference] = TraceOnDisk(Path(reference), open_trace(reference).sha256())
            else:
                found[reference] = synthesised(synthesis_options(source, parts[1]), directory)
        except TraceError as problem:
            raise MatrixError(str(problem)) from None
    return found


def synthesised(options: SynthesisOptions, directory: Path) -> TraceOnDisk:
    """The trace that options make, made in `directory` unless it is there already.

    Raises:
        TraceError: it cannot be written.
    """
    key = f"{version('kvreplay')} {options!r}"
    path = directory / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.parquet"
    if not path.exists():
        from traces.synthesis import write_synthetic_trace

        make_folder(directory)
        write_synthetic_trace(options, path)
    return TraceOnDisk(path, open_trace(path).sha256(), asdict(options))
