"""A verdict follows from what was seen, not from how it was written down or how often one looked."""

import dataclasses
import random
import tempfile
from pathlib import Path

import pytest
from fuzz_cases import make_case
from hypothesis import given
from hypothesis import strategies as st
from rewritten_recordings import AUDIT_NUMBERS, renumber_equal_times, shuffle, thicken, thin

from faults.rule import FaultPlan, FaultRule
from replay.profiles.catalogue import find_profile
from replay.recording.reader import Recording
from replay.run.replay_once import ReplayRequest, replay
from replay.run.session import SessionOptions
from replay.verdict.judge import judge
from traces.dataset import open_trace
from traces.schema import TraceRequest
from traces.writer import TraceWriter

#: Cases that are tried; those in which no gap opens are left out.
_CASES = 20
#: What says how many audits there were, or which.
_COUNTS = ("audits", "iterations", "evidence")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Recordings of small random replays in which gaps open, some after clean cycles."""
    found = []
    for number in range(_CASES):
        case = make_case(number)
        directory = tmp_path_factory.mktemp("case")
        with TraceWriter(
            directory / "t.parquet", source="test", block_size=case.block_size
        ) as writer:
            for request in case.requests:
                writer.write(request)
        summary = replay(
            ReplayRequest(
                trace=open_trace(directory / "t.parquet"),
                profile=case.profile,
                plan=FaultPlan(case.rules),
                options=dataclasses.replace(case.options, repeats=number % 4),
            ),
            directory / "r",
        )
        if summary["episodes"]:
            found.append(directory / "r")
    assert len(found) >= 8
    return [*found, twins(tmp_path_factory.mktemp("twins"))]


def twins(directory):
    """A recording in which equal gaps open on two ranks at the same moment."""
    with TraceWriter(directory / "t.parquet", source="test", block_size=None) as writer:
        for number in range(8):
            writer.write(TraceRequest(f"q{number}", number // 2 * 50_000, 640, 20))
    fields = {"decode_dp": 2, "decode_tp": 2, "prefill_tp": 2}
    profile = dataclasses.replace(find_profile("sglang-0.4.6.post4"), **fields)
    replay(
        ReplayRequest(
            trace=open_trace(directory / "t.parquet"),
            profile=profile,
            plan=FaultPlan((FaultRule("lost", "drop"),)),
            options=SessionOptions(),
        ),
        directory / "r",
    )
    opened = [episode.opened_us for episode in judge(Recording.open(directory / "r")).episodes]
    assert len(set(opened)) < len(opened)
    return directory / "r"


def meaning(directory):
    """The verdict and every episode, without numbers of audits."""
    verdict = judge(Recording.open(directory))
    summary = {key: value for key, value in verdict.summary.items() if key not in _COUNTS}
    if summary["mismatch"] is not None:
        summary["mismatch"] = summary["mismatch"] | {"audit": None}
    episodes = []
    for episode in verdict.episodes:
        fields = dataclasses.asdict(episode) | dict.fromkeys(AUDIT_NUMBERS, None)
        fields["owners"] = sorted(
            (owner | dict.fromkeys(AUDIT_NUMBERS, None) for owner in fields["owners"]), key=str
        )
        fields["verdict"] = episode.verdict
        episodes.append(fields)
    return summary, episodes


@pytest.mark.slow
@given(which=st.integers(0, 999), seed=st.integers(0, 999), rows_per_group=st.integers(1, 200))
def test_rows_and_row_groups_may_come_in_any_order(recordings, which, seed, rows_per_group):
    source = recordings[which % len(recordings)]
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "r"
        shuffle(source, target, random.Random(seed), rows_per_group)
        before, after = (judge(Recording.open(each)) for each in (source, target))
        assert after.summary == before.summary
        assert after.episodes == before.episodes


@pytest.mark.slow
@given(which=st.integers(0, 999), seed=st.integers(0, 999))
def test_pools_may_be_audited_in_any_order_at_one_moment(recordings, which, seed):
    source = recordings[-1 if which % 2 else which % len(recordings)]
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "r"
        renumber_equal_times(source, target, random.Random(seed))
        assert meaning(target) == meaning(source)


@pytest.mark.slow
@given(which=st.integers(0, 999), seed=st.integers(0, 999), share=st.floats(0, 1))
def test_fewer_audits_say_the_same_when_the_episodes_are_the_same(recordings, which, seed, share):
    source = recordings[which % len(recordings)]
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "r"
        thin(source, target, random.Random(seed), share)
        assert meaning(target) == meaning(source)


@pytest.mark.slow
@given(which=st.integers(0, 999), seed=st.integers(0, 999))
def test_more_audits_say_the_same_when_the_episodes_are_the_same(recordings, which, seed):
    source = recordings[which % len(recordings)]
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "r"
        thicken(source, target, random.Random(seed))
        assert meaning(target) == meaning(source)
