"""One labelled cell: replayed, logged, diagnosed blind, and compared with the truth.

cell --replay--> recording --> white-box verdict ---+
                     +-------> logs --> diagnosis --+--> outcome
cell --replay without end--> truth -----------------+
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from labelled.drawing import BLOCK_SIZE, LabelledCell, draw_cell
from labelled.quiet import quiet_checks, quiet_lines
from labelled.truth import Label, find_truth
from replay.recording.file_kinds import ENGINE_LOG
from traces.files.place import hold_all, scratch

#: Virtual time that late events and timeouts get: longer than any timeout of a profile.
HEAL_BUDGET_US = 7_200_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one cell, as plain data."""

    number: int
    engine: str
    check: str
    defect: str | None
    faults: str
    truth: str
    #: The truth as far as a log can show it.
    log_truth: str
    #: What is broken for good, by pool.
    broken: dict[str, str]
    white_box: str
    white_box_why: str
    blind: str
    blind_why: str
    #: Quiet checks that the logs have of what the truth is about, see `labelled.quiet`.
    quiet_checks: int
    #: Quiet checks of any one pool, whatever they are about.
    quiet_lines: int

    @property
    def is_white_box_wrong(self) -> bool:
        """Whether the verdict on the recording says the opposite of the truth."""
        lasts = self.truth in (Label.PERSISTENT, Label.SILENT)
        if lasts:
            return self.white_box in ("clean", "transient")
        return self.white_box == "persistent"

    @property
    def is_blind_wrong(self) -> bool:
        """Whether the diagnosis says the opposite; what no log can show does not count."""
        if self.log_truth == Label.PERSISTENT:
            return self.blind in ("clean", "transient")
        return self.blind == "persistent"


def run_trial(message: Mapping[str, Any]) -> dict[str, Any]:
    """Run the cell of a seed and a number; what a worker of a pool does.

    With `keep`, the recording and the logs stay in that directory.
    """
    cell, keep = draw_cell(message["seed"], message["number"]), message.get("keep")
    if keep is not None:
        Path(keep).mkdir(parents=True)
        return dataclasses.asdict(_try(cell, Path(keep)))
    with scratch() as directory:
        return dataclasses.asdict(_try(cell, directory))


def _try(cell: LabelledCell, directory: Path) -> Outcome:
    from replay.diagnosis.diagnose import diagnose
    from replay.diagnosis.reading.sources import open_logs
    from replay.engine_log.writing import log_names, write_engine_logs
    from replay.recording.reader import Recording
    from replay.run.replay_once import ReplayRequest, replay
    from replay.run.session import SessionOptions
    from traces.dataset import open_trace
    from traces.writer import TraceWriter

    trace = directory / "trace.parquet"
    with TraceWriter(trace, source="labelled cell", block_size=BLOCK_SIZE) as writer:
        for row in cell.requests:
            writer.write(row)
    request = ReplayRequest(
        trace=open_trace(trace),
        profile=cell.profile,
        plan=cell.plan,
        options=SessionOptions(seed=cell.seed, repeats=cell.repeats, heal_budget_us=HEAL_BUDGET_US),
        device="cpu",
    )
    log = directory / "serve.{server}.log"
    names = log_names(log, cell.profile.to_dict())
    with hold_all((each, ENGINE_LOG) for each in names.values()) as places:
        write_logs = partial(write_engine_logs, logs=dict(zip(names, places, strict=True)))
        summary = replay(request, directory / "recording", write_beside=write_logs)
    recording = Recording.open(directory / "recording")
    truth = find_truth(request)
    blind = diagnose(open_logs([str(each) for each in names.values()])).to_dict()
    return Outcome(
        number=cell.number,
        engine=cell.engine,
        check=cell.profile.check_strictness,
        defect=cell.defect,
        faults=cell.faults,
        truth=truth.label.value,
        log_truth=truth.log_label.value,
        broken=truth.broken,
        white_box=summary["verdict"],
        white_box_why=summary["why"],
        blind=blind["verdict"],
        blind_why=blind["why"],
        quiet_checks=quiet_checks(
            set(truth.broken) if truth.log_label is Label.PERSISTENT else (), recording.run, names
        ),
        quiet_lines=quiet_lines(recording.run, names),
    )
