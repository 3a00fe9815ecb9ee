"""Latency and throughput of a recording, from requests.parquet; no loop is over requests.

first token   running_us - arrival_us. Prefill makes the first token and sends it along with the
              prompt's KV; decode hands it to the client with the batch that it first puts the request
              into (sglang 0.4.6.post4 `disaggregation/decode.py`, `process_prebuilt_extend`).
inter-token   (ended_us - running_us) / (output_tokens - 1): the mean of one request, for those that
              finished with more than one output token. Single gaps are not recorded. It has in it
              what a retraction took, and, with overlap scheduling, the iteration after the last token.
end to end    ended_us - arrival_us of requests that finished.

A quantile is the smallest value that at least that share of the values does not exceed (nearest
rank): always one that occurred.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from replay.recording.kinds import Outcome
from reports.evidence import Evidence

#: Shares of which quantiles are shown, in percent.
PERCENTS = (50, 90, 95, 99)

#: Values in ascending order, in microseconds.
Sorted = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Some requests of a recording, and how long they took."""

    name: str
    meaning: str
    requests: int
    finished: int
    first_token: Sorted
    inter_token: Sorted
    end_to_end: Sorted


@dataclass(frozen=True, slots=True)
class PhaseRate:
    """What was finished in one phase."""

    name: str
    length_us: int
    finished: int
    input_tokens: int
    output_tokens: int


def quantile(values: Sorted, percent: int) -> float | None:
    """The value that `percent` of the values do not exceed; None of no values."""
    if not len(values):
        return None
    return float(values[_rank(len(values), percent)])


def is_the_slowest(count: int, percent: int) -> bool:
    """Whether so few values have no such quantile but their largest."""
    return count > 0 and _rank(count, percent) == count - 1


def _rank(count: int, percent: int) -> int:
    return max(-(-percent * count // 100), 1) - 1


def groups_of(evidence: Evidence) -> tuple[Group, ...]:
    """All requests of the trace; where there are fault rules, also those they touched and the others;
    and those of the clean cycles afterwards, where there are any.
    """
    columns = _Columns(evidence.tables["requests"])
    first_cycle = columns.cycle == 0
    if evidence.run["plan"]["rules"]:
        touched = columns.are_in(_touched(evidence.tables["events"]))
        told = [
            ("all, with faults", "every request of the trace", first_cycle),
            ("touched", "requests with an event that a rule touched, or that an abort or timeout hit",
             first_cycle & touched),
            ("not touched", "the other requests of the same replay", first_cycle & ~touched),
        ]  # fmt: skip
    else:
        told = [("all, without faults", "every request of the trace", first_cycle)]
    if not first_cycle.all():
        told.append(
            ("clean cycles after", "the trace again, without faults (--repeat)", ~first_cycle)
        )
    return tuple(columns.group(*each) for each in told)


def baseline_group(evidence: Evidence, name: str) -> Group:
    """All requests of another recording, which has no faults."""
    columns = _Columns(evidence.tables["requests"])
    return columns.group("without faults", f"the same replay without faults, {name}",
                         columns.cycle == 0)  # fmt: skip


def rates_of(evidence: Evidence) -> tuple[PhaseRate, ...]:
    """What was finished in each phase; a request counts for the phase in which it ended."""
    columns, phases = _Columns(evidence.tables["requests"]), evidence.run["phases"]
    if not phases:
        return ()
    ends = np.array([phase["end_us"] for phase in phases], np.int64)
    at = np.searchsorted(ends, columns.ended_us[columns.finished], side="left")
    at = np.minimum(at, len(phases) - 1)

    def summed(values: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.int64]:
        weights = None if values is None else values[columns.finished].astype(np.float64)
        counted = np.bincount(at, weights, minlength=len(phases))
        return np.rint(counted).astype(np.int64)

    finished, inputs, outputs = (
        summed(),
        summed(columns.input_tokens),
        summed(columns.output_tokens),
    )
    return tuple(
        PhaseRate(
            name=phase["phase"],
            length_us=phase["end_us"] - phase["start_us"],
            finished=int(finished[each]),
            input_tokens=int(inputs[each]),
            output_tokens=int(outputs[each]),
        )
        for each, phase in enumerate(phases)
    )


class _Columns:
    """The columns of requests.parquet that are needed, as arrays."""

    def __init__(self, requests: pa.Table) -> None:
        self._ids = requests["request_id"]
        self.cycle = requests["cycle"].to_numpy()
        self.arrival_us = requests["arrival_us"].to_numpy()
        self.running_us = requests["running_us"].to_numpy()
        self.ended_us = requests["ended_us"].to_numpy()
        self.input_tokens = requests["input_tokens"].to_numpy()
        self.output_tokens = requests["output_tokens"].to_numpy()
        finished = pc.equal(requests["decode_state"], "finished")
        self.finished: npt.NDArray[np.bool_] = finished.to_numpy(zero_copy_only=False)

    def are_in(self, ids: pa.Array) -> npt.NDArray[np.bool_]:
        """Which requests are among these."""
        found: npt.NDArray[np.bool_] = pc.is_in(self._ids, value_set=ids).to_numpy(
            zero_copy_only=False
        )
        return found

    def group(self, name: str, meaning: str, chosen: npt.NDArray[np.bool_]) -> Group:
        """Some of the requests with their sorted latencies."""
        started = chosen & (self.running_us >= 0)
        finished = chosen & self.finished
        several = finished & (self.output_tokens > 1) & (self.running_us >= 0)
        decoding = (self.ended_us - self.running_us)[several].astype(np.float64)
        return Group(
            name=name,
            meaning=meaning,
            requests=int(chosen.sum()),
            finished=int(finished.sum()),
            first_token=_sorted((self.running_us - self.arrival_us)[started]),
            inter_token=_sorted(decoding / (self.output_tokens[several] - 1)),
            end_to_end=_sorted((self.ended_us - self.arrival_us)[finished]),
        )


def _sorted(values: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> Sorted:
    return np.sort(values.astype(np.float64))


def _touched(events: pa.Table) -> pa.Array:
    """Requests of which a rule touched an event; one that was aimed at and missed is none."""
    touched = events.filter(pc.is_valid(events["rule"]))
    touched = touched.filter(pc.not_equal(touched["outcome"], Outcome.MISSED.value))
    return pc.unique(touched["request_id"])
