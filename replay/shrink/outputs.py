"""What a shrink leaves behind: a trace, a plan, a recording, a pytest file, and what was done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faults.plan_text import plan_text
from faults.rule import FaultPlan
from replay.errors import ReplayError
from replay.profiles.overrides import as_text
from replay.recording.file_kinds import PLAN_NAME, SHRUNK, SHRUNK_FILE, sealed
from replay.recording.reader import Recording
from replay.run.options import RunOptions
from replay.shrink.case import SOURCE, Case
from replay.shrink.outcome import Outcome, outcome_of
from replay.shrink.place import RECORDING, TEST, TRACE
from replay.shrink.pytest_text import pytest_text
from traces.files.place import Place, hold
from traces.files.writing import write
from traces.text import json_text
from traces.writer import TraceWriter

SHRUNK_SCHEMA = "kvreplay.shrunk/1"


def write_case(
    folder: Path, directory: Path, case: Case, comment: str, made_by: str
) -> tuple[RunOptions, dict[str, Any]]:
    """Write the trace and the plan of a case into a working folder and replay them there.

    `directory` is where the folder will be. Returns how `kvreplay run` does it, and the summary.
    """
    with TraceWriter(folder / TRACE, source=SOURCE, block_size=case.block_size) as writer:
        for request in case.requests:
            writer.write(request)
    write(folder / PLAN_NAME, sealed(plan_text(FaultPlan(case.rules, comment)), made_by))
    options = options_of(case, directory.absolute())
    return options, options.replay_in(folder, "cpu")


def options_of(case: Case, directory: Path) -> RunOptions:
    """A case as `kvreplay run` takes it, its files in that directory."""
    return RunOptions(
        trace=str(directory / TRACE),
        profile=case.profile,
        defects=case.defects,
        settings=tuple((name, as_text(value)) for name, value in case.settings),
        plan=str(directory / PLAN_NAME) if case.rules else None,
        seed=case.options.seed,
        repeat=case.options.repeats,
        heal_budget_s=case.options.heal_budget_us / 1e6,
        every_step=case.options.every_step,
        stop_on_engine_error=case.options.stop_on_engine_error,
    )


def write_shrunk(
    place: Place, directory: Path, case: Case, wanted: Outcome, document: dict[str, Any]
) -> dict[str, Any]:
    """Write everything of a shrunk case, `shrunk.json` last, and return that.

    Raises:
        OutputError: it cannot be written.
        ReplayError: what was written does not come to what is wanted: a defect of kvreplay.
    """
    folder = place.folder()
    options, summary = write_case(folder, directory, case, _comment(wanted), "kvreplay shrink")
    run = Recording.open(folder / RECORDING).run
    found = outcome_of(summary, run, wanted.numbers is not None)
    if found != wanted:
        raise ReplayError(f"{directory}: the shrunk case came to {found}, not to {wanted}")
    write(folder / TEST, sealed(pytest_text(case, wanted, summary), "kvreplay shrink"))
    timing = document.pop("timing")
    whole = {
        "schema": SHRUNK_SCHEMA,
        **document,
        "after": facts(case, summary),
        "files": {"trace": TRACE, "plan": PLAN_NAME, "test": TEST, "recording": RECORDING},
        "reproduce": options.command_line(),
        "timing": timing,
    }
    write(folder / SHRUNK_FILE, json_text(whole) + "\n")
    for name in (TRACE, PLAN_NAME, RECORDING, TEST, SHRUNK_FILE):
        with hold(place.path / name, SHRUNK.entries[name]) as entry:
            entry.put(folder / name)
    return whole


def facts(case: Case, summary: dict[str, Any]) -> dict[str, Any]:
    """What a case is and what it came to, in the words of its summary."""
    mismatch = summary["mismatch"]
    return {
        "requests": len(case.requests),
        "rules": len(case.rules),
        "settings": len(case.settings),
        "defects": list(case.defects),
        "verdict": summary["verdict"],
        "kinds": summary["kinds"],
        "gap": 0 if mismatch is None else mismatch["gap"],
        "why": summary["why"],
    }


def _comment(wanted: Outcome) -> str:
    kind = "" if wanted.kind is None else f" with {wanted.kind} pages"
    return f"the smallest plan that is still {wanted.verdict}{kind}, found by kvreplay shrink"
