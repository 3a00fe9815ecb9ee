"""What a shrink leaves behind: a trace, a plan, a recording, a pytest file, and what was done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faults.kinds import FaultPlan
from faults.plan_text import plan_text
from replay.campaign import replay
from replay.errors import ReplayError, ShrinkError
from replay.profile_overrides import as_text
from replay.recording import Recording, check_replaceable, write_json, write_text
from replay.run_options import RunOptions
from replay.shrink.case import SOURCE, Case
from replay.shrink.outcome import Outcome, outcome_of
from replay.shrink.place import DOCUMENT, PLAN, RECORDING, TEST, TRACE
from replay.shrink.pytest_text import pytest_text
from traces.dataset import TraceWriter

SHRUNK_SCHEMA = "kvreplay.shrunk/1"


def write_inputs(directory: Path, case: Case, comment: str) -> RunOptions:
    """Write the trace and the plan of a case, and say how to run it.

    Raises:
        ShrinkError: they cannot be written.
    """
    check_replaceable(directory / RECORDING)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with TraceWriter(directory / TRACE, source=SOURCE, block_size=case.block_size) as writer:
            for request in case.requests:
                writer.write(request)
        write_text(directory / PLAN, plan_text(FaultPlan(case.rules, comment)))
    except OSError as problem:
        raise ShrinkError(f"{directory}: cannot write there: {problem.strerror}") from None
    return options_of(case, directory.absolute())


def options_of(case: Case, directory: Path) -> RunOptions:
    """A case as `kvreplay run` takes it, its files in that directory."""
    return RunOptions(
        trace=str(directory / TRACE),
        profile=case.profile,
        defects=case.defects,
        settings=tuple((name, as_text(value)) for name, value in case.settings),
        plan=str(directory / PLAN) if case.rules else None,
        seed=case.options.seed,
        repeat=case.options.repeats,
        heal_budget_s=case.options.heal_budget_us / 1e6,
        every_step=case.options.every_step,
        stop_on_engine_error=case.options.stop_on_engine_error,
    )


def record(directory: Path, options: RunOptions) -> dict[str, Any]:
    """Replay what was written, through the same path as `kvreplay run`; the summary."""
    return replay(options.to_request("cpu"), directory / RECORDING)


def write_shrunk(
    directory: Path, case: Case, wanted: Outcome, document: dict[str, Any]
) -> dict[str, Any]:
    """Write everything of a shrunk case, `shrunk.json` last, and return that.

    Raises:
        ShrinkError: it cannot be written.
        ReplayError: what was written does not come to what is wanted: a defect of kvreplay.
    """
    options = write_inputs(directory, case, _comment(wanted))
    summary = record(directory, options)
    run = Recording.open(directory / RECORDING).run
    found = outcome_of(summary, run, wanted.numbers is not None)
    if found != wanted:
        raise ReplayError(f"{directory}: the shrunk case came to {found}, not to {wanted}")
    write_text(directory / TEST, pytest_text(case, wanted, summary))
    timing = document.pop("timing")
    whole = {
        "schema": SHRUNK_SCHEMA,
        **document,
        "after": facts(case, summary),
        "files": {"trace": TRACE, "plan": PLAN, "test": TEST, "recording": RECORDING},
        "reproduce": options.command_line(),
        "timing": timing,
    }
    write_json(directory / f"{DOCUMENT}.tmp", whole)
    (directory / f"{DOCUMENT}.tmp").replace(directory / DOCUMENT)
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
