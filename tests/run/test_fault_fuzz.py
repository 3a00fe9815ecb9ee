"""Any plan on any engine in any topology: no internal error, nothing kept for good, one recording.

KVREPLAY_FUZZ_CASES sets how many cases are tried; a failure names the number of its case.
"""

import os
import tempfile
from pathlib import Path

import pytest
import torch
from fuzz_cases import make_case

from faults.plan import parse_plan
from faults.plan_text import plan_text
from faults.rule import FaultPlan
from replay.pool.device_arrays import DeviceArrays
from replay.run.replay_once import ReplayRequest, replay
from replay.watch.base import Observer
from traces.dataset import open_trace
from traces.writer import TraceWriter

CASES = int(os.environ.get("KVREPLAY_FUZZ_CASES", "40"))


class Keeper(Observer):
    def begin(self, pair):
        self.link = next(pair.ranks()).link


def play(case, arrays=None):
    """The summary of a case and the link of its pair."""
    keeper = Keeper()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "trace.parquet"
        with TraceWriter(path, source="test", block_size=case.block_size) as writer:
            for request in case.requests:
                writer.write(request)
        request = ReplayRequest(
            trace=open_trace(path),
            profile=case.profile,
            plan=FaultPlan(case.rules),
            options=case.options,
            device="cpu",
            arrays=arrays,
        )
        return replay(request, Path(directory) / "out", observers=[keeper]), keeper.link


@pytest.mark.fuzz
@pytest.mark.parametrize("tenth", range(10))
def test_any_plan_on_any_engine(tenth):
    for number in range(tenth, CASES, 10):
        case = make_case(number)
        text = plan_text(FaultPlan(case.rules))
        assert parse_plan(text, "p").rules == case.rules
        summary, link = play(case)
        faults, note = summary["faults"], f"case {number}\n{text}"
        assert faults["planned"] >= faults["landed"] >= faults["observed"], note
        if not summary["why"].startswith("the replay stopped"):
            channel = link.completions
            assert not channel._early, note
            assert not channel.router._kept, note
        if case.profile.name == "hardened":
            assert summary["verdict"] != "persistent", (summary["why"], note)
        if number % 5 == 0:
            tensors, _ = play(case, DeviceArrays(torch.device("cpu")))
            assert tensors["recording_sha256"] == summary["recording_sha256"], note
