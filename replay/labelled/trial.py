"""One labelled cell: replayed, logged, diagnosed blind, and compared with the truth.

cell --replay--> recording --> white-box verdict ---+
                     +-------> logs --> diagnosis --+--> outcome
cell --replay without end--> truth -----------------+
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.labelled.drawing import BLOCK_SIZE, LabelledCell, draw_cell
from replay.labelled.truth import Label, Truth, find_truth

#: Virtual time that late events and timeouts get: longer than any timeout of a profile.
HEAL_BUDGET_US = 7_200_000_000

_LEAK = re.compile(r"memory leak detected!")
_QUIET = (
    # The prefill side of SGLang with nothing under way, before a batch takes its pages.
    re.compile(
        r"Prefill batch\. .*#running-req: 0, #unbootstrapped-req: 0, #queue-req: 0, "
        r"#transferring-req: 0 "
    ),
    re.compile(
        r"Prefill batch, .*#running-req: 0, #queue-req: 0, .*#bootstrap-req: 0, #inflight-req: 0,"
    ),
    re.compile(r"Running: 0 reqs, Waiting: 0 reqs,"),
)


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
    #: The fewest quiet checks that the log has of a server concerned.
    quiet_checks: int

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
        Path(keep).mkdir(parents=True, exist_ok=True)
        return dataclasses.asdict(_try(cell, Path(keep)))
    with tempfile.TemporaryDirectory(prefix="kvreplay-labelled-") as directory:
        return dataclasses.asdict(_try(cell, Path(directory)))


def _try(cell: LabelledCell, directory: Path) -> Outcome:
    from replay.campaign import ReplayRequest, replay
    from replay.diagnosis.diagnose import diagnose
    from replay.diagnosis.source import open_logs
    from replay.engine_log.writing import log_names
    from replay.recording import Recording
    from replay.session import SessionOptions
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
    log = directory / "serve.log"
    summary = replay(request, directory / "recording", engine_log=log)
    names = log_names(log, Recording.open(directory / "recording").run)
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
        quiet_checks=_quiet_checks(truth, names),
    )


def _quiet_checks(truth: Truth, names: dict[str, Path]) -> int:
    """The fewest quiet checks in the log of a server concerned: what is broken, disturbed, or all.

    A check counts once for each second and rank.
    """
    pools = set(truth.broken) or truth.disturbed
    servers = {pool.split("/")[0] for pool in pools} or set(names)
    return min(_quiet_lines(names[server]) for server in servers)


def _quiet_lines(log: Path) -> int:
    """The most quiet checks that one rank's lines have."""
    by_rank: dict[str, set[str]] = {}
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            if _LEAK.search(line) or any(quiet.search(line) for quiet in _QUIET):
                found = re.search(r"(\d\d:\d\d:\d\d)(?P<tag>[^\]]*)\]|Engine (\d+)", line)
                rank = found["tag"] or found[3] or "" if found else ""
                when = re.search(r"\d\d:\d\d:\d\d", line)
                by_rank.setdefault(rank, set()).add(when[0] if when else line)
    return max((len(seconds) for seconds in by_rank.values()), default=0)
