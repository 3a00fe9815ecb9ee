"""What a worker is given: one cell as plain data that says all that its replay depends on.

The traces of a matrix are files: those that it names, and those that it describes, which are made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from faults.plan import PlanFile, plan_of
from faults.plan_text import plan_text
from faults.rule import FaultPlan
from faults.toml.reading import parse_toml
from replay.errors import MatrixError
from replay.matrix.cells import Cell
from replay.matrix.expectations import Expectation
from replay.matrix.matrix import CheckedCell
from replay.run.matrix_file import MatrixSource
from replay.run.options import RunOptions
from replay.run.references import split_reference, synthesis_options
from traces.dataset import open_trace
from traces.errors import TraceError
from traces.files.writing import make_folder
from traces.synthesis_options import SynthesisOptions

#: Which cells keep something: a recording, a report.
Which = Literal["all", "unexpected", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellJob:
    """A cell, where its trace is, and what is to be kept of it."""

    name: str
    slug: str
    options: RunOptions
    expectation: Expectation
    #: The plan's text and what it was read from; None where `options` alone say what the plan is.
    plan: tuple[str, str] | None
    trace_path: str
    trace_sha256: str
    #: Options of the trace where it is made up, for workers that cannot read `trace_path`.
    trace_options: Mapping[str, Any] | None
    #: Changes when the cell would have to run again.
    fingerprint: str
    device: str
    reports: Which
    keep: Which
    #: Directory of recordings.
    cells: str
    #: Seconds that the cell may take, where the worker itself has to see to it.
    cooperative_s: float | None = None
    #: The cell's document where it is done but for its page, which its recording is good for.
    done: Mapping[str, Any] | None = None

    def wants(self, which: Which, is_expected: bool) -> bool:
        """Whether something that is kept of `which` cells is kept of this one."""
        return which == "all" or (which == "unexpected" and not is_expected)

    def to_message(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> CellJob:
        """The job that `to_message` gave, before or after JSON."""
        options: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in message["options"].items()
        }
        options["settings"] = tuple((name, text) for name, text in options["settings"])
        expectation: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in message["expectation"].items()
        }
        plan = message["plan"]
        return cls(
            **{
                **message,
                "options": RunOptions(**options),
                "expectation": Expectation(**expectation),
                "plan": None if plan is None else (plan[0], plan[1]),
            }
        )

    def make_plan(self) -> FaultPlan | None:
        """The plan as it was when the matrix began; None where `options` say what it is."""
        if self.plan is None:
            return None
        parsed = PlanFile.model_validate(parse_toml(self.plan[0]))
        return replace(plan_of(parsed, self.plan[1]), source=self.plan[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """What all jobs of one matrix share."""

    cells: Path
    device: str = "auto"
    reports: Which = "all"
    keep: Which = "all"
    kvreplay: str = field(default_factory=lambda: version("kvreplay"))


@dataclass(frozen=True, slots=True)
class TraceOnDisk:
    """The file of a trace."""

    path: Path
    sha256: str
    options: Mapping[str, Any] | None = field(default=None)


def make_job(
    checked: CheckedCell, expectation: Expectation, trace: TraceOnDisk, settings: JobSettings
) -> CellJob:
    """The job of one cell."""
    cell = checked.cell
    return CellJob(
        name=cell.name,
        slug=cell.slug,
        options=cell.options,
        expectation=expectation,
        plan=_plan_as_text(checked.plan),
        trace_path=str(trace.path),
        trace_sha256=trace.sha256,
        trace_options=trace.options,
        fingerprint=_fingerprint(checked, trace.sha256, settings),
        device=settings.device,
        reports=settings.reports,
        keep=settings.keep,
        cells=str(settings.cells),
    )


def _plan_as_text(plan: FaultPlan | None) -> tuple[str, str] | None:
    """A plan in words that give it back exactly; None if none do, and the worker reads the file."""
    if plan is None:
        return None
    text = plan_text(plan)
    again = plan_of(PlanFile.model_validate(parse_toml(text)), plan.source)
    return (text, plan.source) if again == plan else None


def _fingerprint(checked: CheckedCell, trace_sha256: str, settings: JobSettings) -> str:
    """What the cell's recording follows from, as a hash."""
    options = checked.cell.options
    facts = {
        "kvreplay": settings.kvreplay,
        "trace": trace_sha256,
        "profile": checked.profile.to_dict(),
        "plan": repr(_in_order(checked.plan)),
        "reproduce": options.command_line(),
        "device": settings.device,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=list).encode()).hexdigest()


def _in_order(plan: FaultPlan | None) -> object:
    """A plan with its sets sorted: their order differs from process to process."""
    return (
        None
        if plan is None
        else [
            sorted(
                (name, sorted(value) if isinstance(value, frozenset) else value)
                for name, value in asdict(rule).items()
            )
            for rule in plan.rules
        ]
        + [plan.comment, plan.source]
    )


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
