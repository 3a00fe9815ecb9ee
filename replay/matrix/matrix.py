"""A matrix file with everything that follows from it: cells, expectations, warnings; and its checks.

What is wrong with a cell's profile, plan or trace is found before any cell runs, with the line to
blame.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from faults.rule import FaultPlan, PlanError
from faults.toml.errors import nearest
from replay.errors import MatrixError, ProfileError
from replay.matrix.cells import Cell, make_cells
from replay.matrix.expectations import Expectation, find_expectations
from replay.profiles.catalogue import builtin_profiles
from replay.profiles.profile import EngineProfile
from replay.run.matrix_file import MatrixSource, read_matrix_file
from replay.run.options import RunOptions
from replay.run.references import split_reference, synthesis_options
from traces.errors import TraceError

#: Shard `i` of `n`, from 1.
Shard = tuple[int, int]

SHARDS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Matrix:
    """What is to be run, and what must come out."""

    source: MatrixSource
    cells: tuple[Cell, ...]
    #: By the name of the cell.
    expectations: Mapping[str, Expectation]
    warnings: tuple[str, ...]


def load_matrix(path: Path) -> Matrix:
    """Read a matrix file; what it names is looked for, but not opened yet.

    Raises:
        MatrixError: the file is wrong; the message names file, line and key.
    """
    return matrix_of(read_matrix_file(path), find_inputs=True)


def matrix_of(source: MatrixSource, *, find_inputs: bool) -> Matrix:
    """The matrix of a file that has been read.

    Args:
        source: the file.
        find_inputs: whether to look for the profiles, plans and traces that it names.

    Raises:
        MatrixError: it names what is not there, or its cells or expectations contradict each other.
    """
    warnings: list[str] = []
    cells = make_cells(source, warnings.append)
    if find_inputs:
        # Before expectations: a misspelt name is why they match nothing.
        check_names(source, cells)
    expectations = find_expectations(source, cells, warnings.append)
    return Matrix(source, cells, expectations, tuple(warnings))


def cells_of(matrix: Matrix, shard: Shard | None = None) -> tuple[Cell, ...]:
    """The cells of a matrix, or of one shard of it."""
    if shard is None:
        return matrix.cells
    return tuple(cell for cell in matrix.cells if cell.is_in_shard(shard))


def parse_shard(text: str) -> Shard:
    """Read `i/n`.

    Raises:
        MatrixError: it is not that, or there is no such shard.
    """
    index_text, slash, count_text = text.partition("/")
    if not (slash and index_text.isdecimal() and count_text.isdecimal()):
        raise MatrixError(f"--shard {text}: expected I/N, such as 1/3")
    index, count = int(index_text), int(count_text)
    if not 1 <= index <= count <= SHARDS_MAX:
        raise MatrixError(
            f"--shard {text}: shards are numbered from 1 to N, and N is at most {SHARDS_MAX}"
        )
    return index, count


_FIELD_SET = re.compile(r"--set (\w+):")


@dataclass(frozen=True, slots=True)
class CheckedCell:
    """A cell whose profile and plan are known to be sound."""

    cell: Cell
    profile: EngineProfile
    #: None where the plan is drawn when the cell runs.
    plan: FaultPlan | None


def check_cells(source: MatrixSource, cells: Iterable[Cell]) -> tuple[CheckedCell, ...]:
    """Make every cell's profile and plan, and open its trace.

    Raises:
        MatrixError: one cannot be made; with the line of the value that is to blame.
    """
    checker = _Checker(source)
    return tuple(checker.check(cell) for cell in cells)


def check_names(source: MatrixSource, cells: Iterable[Cell]) -> None:
    """Make sure that every profile, plan and trace that cells name is there.

    Raises:
        MatrixError: one is not; with its line and the nearest name that is.
    """
    seen: set[tuple[str, str]] = set()
    for cell in cells:
        for axis in ("trace", "profile", "plan"):
            name = cell.axes[axis]
            if (axis, name) in seen or axis not in cell.places:
                continue
            seen.add((axis, name))
            known, there = _known(source, cell, axis)
            if not there:
                raise source.error(
                    f"{axis}: {name} is {_NEITHER[axis]}; {nearest(name, known)}",
                    *cell.places[axis],
                )


_NEITHER = {
    "trace": "neither a [trace.NAME] of this file nor a trace file",
    "profile": "no engine profile",
    "plan": "neither none, a [plan.NAME] of this file, builtin:NAME nor a plan file",
}


def _known(source: MatrixSource, cell: Cell, axis: str) -> tuple[list[str], bool]:
    """Names that an axis knows, and whether the cell's is one, or else a file."""
    name = cell.axes[axis]
    if axis == "profile":
        known = list(builtin_profiles())
        return known, name in known
    known = list(getattr(source.file, axis))
    reference = getattr(cell.options, axis)
    is_known = reference is None or name in known or name.startswith("builtin:")
    return known, is_known or Path(reference).exists()


class _Checker:
    """Checks cells of one file; what many cells share is made once."""

    def __init__(self, source: MatrixSource) -> None:
        self._source = source
        self._profiles: dict[tuple[object, ...], EngineProfile] = {}
        self._plans: dict[str | None, FaultPlan] = {}
        self._traces: set[str] = set()

    def check(self, cell: Cell) -> CheckedCell:
        self._check_trace(cell)
        options = cell.options
        key = (options.profile, options.defects, options.settings)
        if key not in self._profiles:
            self._profiles[key] = self._profile(cell)
        if options.swarm:
            return CheckedCell(cell, self._profiles[key], None)
        if options.plan not in self._plans:
            self._plans[options.plan] = self._plan(cell)
        return CheckedCell(cell, self._profiles[key], self._plans[options.plan])

    def _check_trace(self, cell: Cell) -> None:
        from traces.dataset import open_trace

        reference = cell.options.trace
        if reference in self._traces:
            return
        if (parts := split_reference(reference)) is not None:
            synthesis_options(self._source, parts[1])
        else:
            try:
                open_trace(Path(reference))
            except TraceError as problem:
                raise self._blame(cell, "trace", str(problem)) from None
        self._traces.add(reference)

    def _profile(self, cell: Cell) -> EngineProfile:
        try:
            return cell.options.make_profile()
        except ProfileError as problem:
            field = _FIELD_SET.match(str(problem))
            axis = (cell.set_by.get(field[1]) if field else None) or _axis_to_blame(cell)
            place = cell.places[axis]
            if axis == "settings" and field is not None:
                named = ("settings", cell.axes["settings"], field[1])
                place = named if named in self._source.lines else (*place, field[1])
            text = str(problem).replace("--set ", "", 1)
            raise self._source.error(f"{axis}: {text}; in the cell {cell.name}", *place) from None

    def _plan(self, cell: Cell) -> FaultPlan:
        try:
            return cell.options.make_plan()
        except PlanError as problem:
            raise self._blame(cell, "plan", str(problem)) from None

    def _blame(self, cell: Cell, axis: str, words: str) -> MatrixError:
        return self._source.error(f"{axis}: {words}", *cell.places[axis])


def _axis_to_blame(cell: Cell) -> str:
    """The first axis without whose value the profile could be made; else the profile itself."""
    # From the last that was set: a pool is to fit its pages; tables of settings come last.
    for axis in ("defects", *reversed(dict.fromkeys(cell.set_by.values()))):
        if axis in cell.places and _can_be_made(_without(cell, axis)):
            return axis
    return "profile"


def _without(cell: Cell, axis: str) -> RunOptions:
    if axis == "defects":
        return dataclasses.replace(cell.options, defects=())
    kept = tuple((name, text) for name, text in cell.options.settings if cell.set_by[name] != axis)
    return dataclasses.replace(cell.options, settings=kept)


def _can_be_made(options: RunOptions) -> bool:
    try:
        options.make_profile()
    except ProfileError:
        return False
    return True
