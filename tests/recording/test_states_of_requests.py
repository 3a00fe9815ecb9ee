"""Every reader of a recording says the same of a request: its states, from when and until when.

The truth is what the pair itself said while it ran, each time that a request came into a state.
"""

import gzip
import json

import numpy as np
import pytest

from faults.events import DECODE_STATES, PREFILL_STATES
from replay.engine_log.queue_lengths import Requests, decode_queues, prefill_queues
from replay.explain.request_life import read_request, request_life
from replay.recording.kinds import DECODE_ENDED, ENDS, STATES
from replay.recording.reader import Recording
from replay.recording.requests import SIDES, RequestRow, StateTimes, times_of
from replay.run.options import RunOptions
from replay.run.replay_once import replay
from replay.verdict.judge import judge
from replay.watch.base import Observer
from reports.evidence import load
from reports.outputs.perfetto.writing import write_perfetto
from reports.parts.lanes.lane import lanes_of
from traces.synthesis import write_synthetic_trace
from traces.synthesis_options import SynthesisOptions

#: Where decode allocates before prefill, and after it; gives up at once, and defers.
PROFILES = ("sglang-0.5.23", "vllm-0.33", "sglang-0.4.6.post4", "hardened")
#: What a log calls the queues -> the states of those who are in them.
DECODE_QUEUES = {
    "prealloc": ("prealloc",),
    "transfer": ("transfer", "moving", "landed"),
    "waiting": ("waiting",),
    "running": ("running",),
}
PREFILL_QUEUES = {
    "bootstrap": ("bootstrap",),
    "waiting": ("prefill-waiting",),
    "computing": ("prefilling",),
    "inflight": ("in-flight",),
}


class StatesEntered(Observer):
    """Of every request the states that it came into, each with its time."""

    def __init__(self):
        self.entered = {}

    def begin(self, pair):
        self._clock = pair.clock

    def state_entered(self, request, state):
        self.entered.setdefault(request.request_id, []).append((state, self._clock.now_us))


class Told:
    """One recording, what the pair said while it was made, and the stays that its rows tell."""

    def __init__(self, folder, profile):
        notes = StatesEntered()
        trace = folder / "trace.parquet"
        write_synthetic_trace(
            SynthesisOptions(
                requests=60,
                seed=12,
                rate_per_s=30.0,
                abort_rate=0.2,
                abort_s_mean=0.5,
                input_tokens_max=6_000,
                output_tokens_max=60,
            ),
            trace,
        )
        options = RunOptions(
            trace=str(trace),
            profile=profile,
            # Nobody is retracted, which no recording tells.
            settings=(("total_tokens", "1048576"), ("prefill_total_tokens", "1048576")),
            drop=0.05,
            delay=(0.1, 700.0),
            duplicate=0.05,
        )
        replay(options.to_request("cpu"), folder / "recording", observers=[notes])
        self.entered = notes.entered
        self.directory = folder / "recording"
        self.recording = Recording.open(self.directory)
        self.end_us = max(phase["end_us"] for phase in self.recording.run["phases"])
        self.rows = RequestRow.of_rows(self.recording.table("requests"))
        self.stays = {
            row.request_id: [stay for side in SIDES for stay in row.stays(side)]
            for row in self.rows
        }

    def lasting(self, stays):
        """(side, state, start, end) of those that take any time."""
        ends = [(*stay[:3], self.end_us if stay.end_us is None else stay.end_us) for stay in stays]
        return sorted(stay for stay in ends if stay[3] > stay[2])


@pytest.fixture(scope="module", params=PROFILES)
def told(request, tmp_path_factory):
    return Told(tmp_path_factory.mktemp("states"), request.param)


def test_a_row_tells_each_state_when_the_pair_came_into_it(told):
    states = set()
    for name, stays in told.stays.items():
        truth = told.entered[name]
        known = [(stay.state, stay.start_us) for stay in stays if stay.state != "absent"]
        assert set(known) <= set(truth), name
        states |= {state for state, _ in known}
        for state, time_us in set(truth) - set(known):
            # It came into a state that it was beyond by then: its bytes landed later.
            side = DECODE_STATES if state in DECODE_STATES else PREFILL_STATES
            beyond = side[side.index(state) + 1 :]
            row = next(row for row in told.rows if row.request_id == name)
            assert any(each in beyond and at <= time_us for each, at in known) or (
                0 <= row.ended_us <= time_us
            ), (name, state, truth, known)
    assert {"prefilling", "in-flight", "prealloc", "moving", "running"} <= states


def test_swim_lanes_draw_them(told):
    evidence = load(told.directory)
    for lanes in lanes_of(evidence, list(told.stays)):
        bars = [(bar.side, bar.state, bar.start_us, bar.end_us) for bar in lanes.bars]
        assert sorted(bars) == told.lasting(told.stays[lanes.request_id])


def test_trace_files_have_a_slice_for_each(told, tmp_path):
    write_perfetto(told.directory, tmp_path / "trace.json.gz", compress=True)
    events = json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))["traceEvents"]
    slices = [
        (event["cat"], event["name"], event["ts"], event["ts"] + event["dur"])
        for event in events
        if event.get("cat") in SIDES
    ]
    stays = [stay for stays in told.stays.values() for stay in stays]
    assert sorted(slices) == told.lasting(stays)


def test_explanations_have_a_step_for_each(told):
    of_words = {words.begins: state for state, words in STATES.items()}
    for name, stays in told.stays.items():
        life = request_life(read_request(told.recording, name))
        steps = {
            (of_words[step.what.rpartition(" (")[0]], step.time_us)
            for step in life.steps
            if step.kind == "state"
        }
        expected = {
            (stay.state, stay.start_us) for stay in stays if stay.state not in ("moving", "landed")
        }
        assert steps == expected


def test_server_logs_count_them_in_their_queues(told):
    of_row = {row.request_id: row for row in told.rows}
    for side, make, names in (
        ("decode", decode_queues, DECODE_QUEUES),
        ("prefill", prefill_queues, PREFILL_QUEUES),
    ):
        for pool in {row.pool(side) for row in told.rows}:
            queues = make(Requests.of_pool(told.recording, side, pool))
            mine = [
                stay
                for name, stays in told.stays.items()
                for stay in stays
                if stay.side == side and of_row[name].pool(side) == pool
            ]
            moments = sorted({stay.start_us for stay in mine})[:: max(1, len(mine) // 200)]
            for queue, states in names.items():
                counts = [getattr(queues, queue).count(time_us) for time_us in moments]
                assert counts == [
                    sum(
                        stay.state in states
                        and stay.start_us <= time_us
                        and (stay.end_us is None or time_us < stay.end_us)
                        for stay in mine
                    )
                    for time_us in moments
                ], queue


def test_the_verdict_counts_who_never_left(told):
    stuck = sum(
        stays[-1].end_us is None and row.cycle == 0
        for row in told.rows
        for stays in [[stay for stay in told.stays[row.request_id] if stay.side == "decode"]]
    )
    counts = judge(told.recording).oracles.liveness.requests
    assert counts["stuck"] == stuck
    assert counts["total"] == sum(row.cycle == 0 for row in told.rows)
    for row in told.rows:
        assert (row.decode_state in DECODE_ENDED) == (row.ended_us >= 0)
        assert (row.prefill_state in ENDS) == (row.prefill_ended_us >= 0)


def test_columns_and_rows_tell_the_same(told):
    times = times_of(told.recording.table("requests"))
    for side in SIDES:
        together = StateTimes(times, side).stays(np.arange(len(told.rows)))
        assert list(together) == [row.stays(side) for row in told.rows]
