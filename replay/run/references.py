"""`FILE#NAME`: a trace or a plan that is a table of a matrix file, as accepted by `kvreplay run`.

The command that reproduces a cell therefore depends only on files of the repository.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.catalogue import open_plan
from faults.plan import plan_of
from faults.rule import FaultPlan
from faults.toml.errors import nearest
from replay.errors import MatrixError
from replay.run.matrix_file import MatrixSource, read_matrix_file
from traces.errors import TraceError
from traces.files.place import scratch
from traces.synthesis_options import SynthesisOptions

_FIELD_OF_COMPLAINT = re.compile(r"synthesis: (\w+) is ")


def split_reference(reference: str) -> tuple[Path, str] | None:
    """Return the file and the name in `FILE#NAME`; None for a plain path, even with a `#` in its name."""
    file, mark, name = reference.rpartition("#")
    if not mark or not file.endswith(".toml") or os.path.lexists(reference):
        return None
    return Path(file), name


@contextmanager
def trace_file(reference: str) -> Iterator[Path]:
    """Yield the file of a trace; for `FILE#NAME`, generate one that exists as long as the block.

    Raises:
        MatrixError: the matrix file cannot be read, or has no such table.
        TraceError: its options are invalid.
    """
    parts = split_reference(reference)
    if parts is None:
        yield Path(reference)
        return
    from traces.synthesis import write_synthetic_trace

    options = synthesis_options(read_matrix_file(parts[0]), parts[1])
    with scratch() as directory:
        path = directory / "trace.parquet"
        write_synthetic_trace(options, path)
        yield path


def referenced_plan(reference: str) -> FaultPlan:
    """Return the plan of a file, a built-in plan, or a `[plan.NAME]` table of a matrix file.

    Raises:
        PlanError: the plan file cannot be read or used.
        MatrixError: the matrix file cannot be read, or has no such table.
    """
    parts = split_reference(reference)
    if parts is None:
        return open_plan(reference)
    source, name = read_matrix_file(parts[0]), parts[1]
    if name not in source.file.plan:
        raise _missing(source, "plan", name, list(source.file.plan))
    return plan_of(source.file.plan[name], reference)


def synthesis_options(source: MatrixSource, name: str) -> SynthesisOptions:
    """Return the options in the table `[trace.NAME]`.

    Raises:
        MatrixError: there is no such table, or its values are invalid; with the line.
    """
    if name not in source.file.trace:
        raise _missing(source, "trace", name, list(source.file.trace))
    try:
        return SynthesisOptions(**source.file.trace[name].model_dump())
    except TraceError as problem:
        words = str(problem)
        found = _FIELD_OF_COMPLAINT.match(words)
        key = (found[1],) if found else ()
        raise source.error(f"trace.{name}: {words}", "trace", name, *key) from None


def _missing(source: MatrixSource, table: str, name: str, known: list[str]) -> MatrixError:
    return MatrixError(f"{source.path}: no table [{table}.{name}]; {nearest(name, known)}")
