"""The fixture `kvreplay`: replays for users' own tests, also against their own allocators."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from faults.plan import parse_plan
from faults.plan_text import plan_text
from faults.rule import FaultPlan
from replay.matrix.expectations import judge_cell
from replay.matrix.jobs import make_traces, synthesised
from replay.matrix.matrix import check_cells, load_matrix
from replay.matrix.run_one import facts_of
from replay.pool.foreign_allocator import AllocatorFactory, name_of
from replay.pytest_plugin.replayed import Replayed, ReplayedCell, ReplayedMatrix
from replay.pytest_plugin.token_allocator import TokenAllocatorFactory, pages_of
from replay.pytest_plugin.watched import Misconduct, watched
from replay.run.matrix_axes import checked_topology, topology_settings
from replay.run.options import HEAL_BUDGET_S, RunOptions
from replay.run.replay_once import replay
from traces.files.writing import make_folder, write
from traces.synthesis_options import SynthesisOptions

#: A value of a profile field, as TOML has it.
Setting = str | int | bool | list[str]


class Harness:
    """Makes traces and plans, and replays them in this process; recordings stay in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = iter(range(1, 10**9))

    def synth(self, **options: Any) -> Path:
        """Make a trace and return its file; the same options give the same file.

        Args:
            options: as of `traces.synthesis_options.SynthesisOptions`, or `kvreplay trace synth`
                with `_` for `-`: `requests`, `seed`, `rate_per_s`, `prompt_tokens_median`, ...

        Raises:
            TypeError: there is no such option.
            TraceError: the options make no trace.
        """
        return synthesised(SynthesisOptions(**options), self._directory / "traces").path

    def plan(self, text: str) -> FaultPlan:
        """A fault plan from the text of a plan file (see docs/faults.md).

        Raises:
            PlanError: it has a key or value that no rule takes; with the line.
        """
        return parse_plan(text, "the plan of this test")

    def token_allocator(self, make: TokenAllocatorFactory) -> AllocatorFactory:
        """An allocator of SGLang's interface (`alloc`, `free`, `available_size`, token indices).

        Args:
            make: a class or function that takes (tokens of the pool, tokens of a page).
        """
        return pages_of(make)

    def run(
        self,
        *,
        trace: str | Path,
        profile: str = "hardened",
        topology: str | None = None,
        plan: FaultPlan | str | Path | None = None,
        allocator: AllocatorFactory | None = None,
        defects: Iterable[str] = (),
        settings: Mapping[str, Setting] | None = None,
        seed: int = 0,
        repeat: int = 0,
        heal_budget_s: float = HEAL_BUDGET_S,
        every_step: bool = False,
        stop_on_engine_error: bool = False,
        device: str = "cpu",
    ) -> Replayed:
        """Replay a trace against an engine profile, as `kvreplay run` does.

        Args:
            trace: a trace file.
            profile: the name of a built-in engine profile.
            topology: PREFILL:DECODE, each [INSTANCESx]tpN[dpM], such as 2xtp2:tp4dp2.
            plan: what `plan` made, `builtin:NAME`, or a plan file.
            allocator: a class or function that takes (pages of the pool, tokens of a page) and
                gives an allocator (`replay.pool.foreign_allocator.UserAllocator`).
            defects: known bugs of real engines to switch on.
            settings: profile fields.
            seed: of the faults.
            repeat: clean cycles of the trace after healing.
            heal_budget_s: virtual seconds that late events and timeouts get after the faults end.
            every_step: whether to audit after every single decode step.
            stop_on_engine_error: whether to stop where the real engine would have died.
            device: where the pools live: cpu, cuda or auto.

        Raises:
            ValueError: something that was named is not there or does not fit, in one sentence.
        """
        texts = {} if topology is None else topology_settings(checked_topology(topology))
        texts |= {name: _text(value) for name, value in (settings or {}).items()}
        directory = self._next_directory()
        given = plan if isinstance(plan, FaultPlan) else None
        reference = None if plan is None else str(plan)
        if given is not None:
            # A file, so that the line that reproduces this can name it.
            reference = str(directory / "plan.toml")
            write(Path(reference), plan_text(given))
        options = RunOptions(
            trace=str(trace),
            profile=profile,
            defects=tuple(defects),
            settings=tuple(texts.items()),
            plan=reference,
            seed=seed,
            repeat=repeat,
            heal_budget_s=heal_budget_s,
            every_step=every_step,
            stop_on_engine_error=stop_on_engine_error,
        )
        return _replayed(options, Path(trace), given, allocator, directory, device)

    def matrix(
        self, path: str | Path, *, allocator: AllocatorFactory | None = None, device: str = "cpu"
    ) -> ReplayedMatrix:
        """Run every cell of a matrix file in this process, one after the other.

        The file's budget does not hold here: nothing can end a cell but the test's own timeout.

        Raises:
            MatrixError: the file is wrong; the message names file, line and key.
        """
        matrix = load_matrix(Path(path))
        source, cells = matrix.source, []
        traces = make_traces(source, matrix.cells, self._directory / "traces")
        for each in check_cells(source, matrix.cells):
            cell, expectation = each.cell, matrix.expectations[each.cell.name]
            trace = traces[cell.options.trace].path
            directory = self._next_directory()
            replayed = _replayed(cell.options, trace, each.plan, allocator, directory, device)
            facts = facts_of(replayed.recording, replayed.summary)
            judgement = judge_cell({"state": "finished", "facts": facts}, expectation)
            where = f" ({source.path}:{expectation.line})" if expectation.line else ""
            cells.append(
                ReplayedCell(
                    cell.name,
                    judgement.outcome,
                    judgement.because,
                    f"{expectation}{where}",
                    replayed,
                )
            )
        return ReplayedMatrix(tuple(cells))

    def _next_directory(self) -> Path:
        directory = self._directory / f"run-{next(self._numbers)}"
        make_folder(directory)
        return directory


def _replayed(
    options: RunOptions,
    trace: Path,
    plan: FaultPlan | None,
    allocator: AllocatorFactory | None,
    directory: Path,
    device: str,
) -> Replayed:
    request = options.to_request(device, trace_path=trace, plan=plan)
    misconduct = None
    if allocator is not None:
        misconduct = Misconduct(name_of(allocator))
        request = dataclasses.replace(
            request,
            make_allocator=watched(allocator, misconduct),
            reproduce=_this_test(allocator),
        )
    recording = directory / "recording"
    summary = replay(request, recording)
    sentences = () if misconduct is None else misconduct.sentences()
    return Replayed(summary, recording, request.reproduce, sentences)


def _this_test(allocator: AllocatorFactory) -> str:
    """The line that runs the test again: no command line of kvreplay has its allocator."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
    line = shlex.join(["pytest", test]) if test else "run the test again"
    return f"{line}  # with the allocator {name_of(allocator)}"


def _text(value: Setting) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else str(value)
