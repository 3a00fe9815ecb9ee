"""Statistics of a trace: sizes, rates, ties, shared prefixes, sessions, aborts; and a comparison of two.

`inspect_trace` and `compare_traces` make one pass over the checked batches of each trace. Memory
hardly grows with the trace: eight bytes a request for the check that ids are unique.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from traces.dataset import Trace, open_trace
from traces.statistics.prefix_reuse import PrefixReuse
from traces.statistics.spill import SpilledRecords
from traces.statistics.value_counts import RunLengths, ValueCounts, kolmogorov_smirnov

#: Columns whose values are counted, by their names in the facts.
COUNTED = ("input_tokens", "output_tokens", "inter_arrival_us", "after_us")

_WINDOWS_S = (1, 60)
_PRIORITIES = 256


@dataclass(frozen=True, slots=True)
class TraceMeasurements:
    """The result of one pass over a trace.

    Attributes:
        facts: the plain JSON values documented at `inspect_trace`.
        counts: the frequency of each value, by the names in `COUNTED`.
    """

    facts: dict[str, Any]
    counts: dict[str, ValueCounts]


def inspect_trace(
    path: str | Path, on_progress: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Describe a trace as plain JSON values.

    Keys: `path`, `source`, `block_size`, `requests`, `input_tokens`, `output_tokens` (totals),
    `duration_us` (first to last arrival), `per_request` (min, p50, p90, p99, max and mean of
    `input_tokens`, `output_tokens` and `inter_arrival_us`; quantiles interpolate linearly; None
    where there is no value), `rate_per_s` (`mean` = 1 / mean inter-arrival time, and the busiest
    1 s and 60 s window counted from time 0), `dispersion` (variance / mean of the requests per
    window: 1 for Poisson arrivals, more for bursts), `ties`, `prefix_reuse` (of the prompts that
    have block hashes: blocks and tokens that an earlier request already had, as an infinite cache
    would find them), `sessions`, `aborts`, `priorities`, `is_exact` (per column with quantiles:
    false when it had so many different values that quantiles are off by up to 0.05 %).

    Args:
        path: trace file.
        on_progress: called now and then with the requests read so far.

    Raises:
        TraceError: the file is no trace, a row is wrong or there is no room for temporary files.
    """
    return measure_trace(path, on_progress).facts


def measure_trace(
    path: str | Path, on_progress: Callable[[int], None] | None = None
) -> TraceMeasurements:
    """Return what `inspect_trace` does and the value counts behind it.

    Raises:
        TraceError: as `inspect_trace`.
    """
    trace = open_trace(path)
    with _Meter(trace) as meter:
        for batch in trace.iter_batches():
            meter.add(batch)
            if on_progress is not None:
                on_progress(meter.requests)
        return TraceMeasurements(meter.facts(), meter.counts)


class _Meter(ExitStack):
    """Adds up the batches of one trace."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.requests = 0
        self.counts = {name: ValueCounts() for name in COUNTED}
        self._trace = trace
        self._first_us = self._last_us = 0
        self._tokens = {"input_tokens": 0, "output_tokens": 0}
        self._ties = RunLengths()
        self._windows = {seconds: RunLengths() for seconds in _WINDOWS_S}
        self._sessions = self.enter_context(SpilledRecords())
        self._session_requests = 0
        self._priorities = np.zeros(_PRIORITIES, np.int64)
        self._reuse: PrefixReuse | None = None
        if trace.block_size is not None:
            self._reuse = self.enter_context(PrefixReuse(trace.block_size))

    def add(self, batch: Any) -> None:
        """Add one checked `pyarrow.RecordBatch`."""
        arrival_us = batch.column("arrival_us").to_numpy()
        input_tokens = batch.column("input_tokens").to_numpy()
        self._add_arrivals(arrival_us)
        self.counts["input_tokens"].add(input_tokens)
        self.counts["output_tokens"].add(batch.column("output_tokens").to_numpy())
        for name in self._tokens:
            self._tokens[name] += int(batch.column(name).to_numpy().sum(dtype=np.int64))
        if self._reuse is not None:
            self._reuse.add(batch.column("block_hashes"), input_tokens)
        cancels = batch.column("cancel_us")
        aborted = cancels.is_valid().to_numpy(zero_copy_only=False)
        self.counts["after_us"].add(cancels.drop_null().to_numpy() - arrival_us[aborted])
        sessions = session_fingerprints(batch.column("session_id"))
        self._sessions.add(sessions, np.zeros(sessions.size, np.uint32))
        self._session_requests += sessions.size
        priorities = batch.column("priority").drop_null().to_numpy().astype(np.int64)
        self._priorities += np.bincount(priorities + _PRIORITIES // 2, minlength=_PRIORITIES)
        self.requests += batch.num_rows

    def _add_arrivals(self, arrival_us: npt.NDArray[np.int64]) -> None:
        if not arrival_us.size:
            return
        if not self.requests:
            self._first_us = self._last_us = int(arrival_us[0])
            gaps = np.diff(arrival_us)
        else:
            gaps = np.diff(arrival_us, prepend=self._last_us)
        self.counts["inter_arrival_us"].add(gaps)
        self._ties.add(arrival_us)
        for seconds, windows in self._windows.items():
            windows.add(arrival_us // (seconds * 1_000_000))
        self._last_us = int(arrival_us[-1])

    def facts(self) -> dict[str, Any]:
        """Return everything that `inspect_trace` documents."""
        trace, requests = self._trace, self.requests
        duration_us = self._last_us - self._first_us
        rates: dict[str, float | None] = {
            "mean": (requests - 1) / (duration_us / 1e6) if duration_us else None
        }
        for seconds, windows in self._windows.items():
            rates[f"peak_{seconds}s"] = windows.longest / seconds if requests else None
        aborts = self.counts["after_us"]
        return {
            "path": str(trace.path),
            "source": trace.source,
            "block_size": trace.block_size,
            "requests": requests,
            **self._tokens,
            "duration_us": duration_us,
            "per_request": {name: self.counts[name].spread() for name in COUNTED[:3]},
            "rate_per_s": rates,
            "dispersion": {f"{s}s": windows.dispersion() for s, windows in self._windows.items()},
            "ties": {"distinct_arrivals": self._ties.distinct, "largest": self._ties.longest},
            "prefix_reuse": None if self._reuse is None else self._reuse.result(),
            "sessions": self._session_facts(),
            "aborts": {
                "count": aborts.count,
                "share": aborts.count / requests if requests else None,
                "after_us": aborts.spread(),
            },
            "priorities": {
                str(place - _PRIORITIES // 2): int(self._priorities[place])
                for place in np.flatnonzero(self._priorities)
            },
            "is_exact": {name: counts.is_exact for name, counts in self.counts.items()},
        }

    def _session_facts(self) -> dict[str, int | float | None]:
        count, turns_max = 0, 0
        for fingerprints, _ in self._sessions.groups():
            _, turns = np.unique(fingerprints, return_counts=True)
            count += turns.size
            turns_max = max(turns_max, int(turns.max()))
        return {
            "count": count,
            "requests": self._session_requests,
            "turns_mean": self._session_requests / count if count else None,
            "turns_max": turns_max or None,
        }


def session_fingerprints(session_ids: Any) -> npt.NDArray[np.uint64]:
    """Return a 64-bit fingerprint of every id of a `pyarrow.StringArray` that is not null.

    Equal ids have equal fingerprints in this process (and hardly ever different ones do); another
    process has others.
    """
    if session_ids.null_count == len(session_ids):
        return np.empty(0, np.uint64)
    names = session_ids.drop_null().to_numpy(zero_copy_only=False).tolist()
    return np.fromiter(map(hash, names), np.int64, len(names)).view(np.uint64)


def compare_traces(
    path: str | Path,
    against: str | Path,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Compare two traces as plain JSON values; each of them is checked and read once.

    Keys: `trace` and `against` (each `path`, `source`, `requests`, `duration_us`); `columns` (per
    column `trace` and `against` with quantiles as in `inspect_trace`, `ks_distance`, the
    Kolmogorov-Smirnov distance from 0, alike, to 1, or None where a trace has no value; and
    `is_exact`); then numbers as `trace`, `against` and `difference` (of `trace` from `against`;
    None where one has none): `rate_per_s` (`mean`, `peak_1s`, `peak_60s`) and `dispersion` (`1s`,
    `60s`); and shares with `difference_points`, in percentage points: `prefix_hit_rate` (of the
    prompt tokens, in an infinite cache), `abort_share`.

    Args:
        path: a trace file.
        against: the trace file to compare it with.
        on_progress: called now and then with the requests read so far, of both files.

    Raises:
        TraceError: as `traces.statistics.inspection.inspect_trace`, for either file.
    """
    one = measure_trace(path, on_progress)
    read = int(one.facts["requests"])
    other = measure_trace(
        against, None if on_progress is None else lambda count: on_progress(read + count)
    )
    pair = (one, other)
    return {
        "trace": _identity(one),
        "against": _identity(other),
        "columns": {name: _compare_column(name, *pair) for name in COUNTED},
        **{
            group: {
                name: _difference(*(measured.facts[group][name] for measured in pair))
                for name in one.facts[group]
            }
            for group in ("rate_per_s", "dispersion")
        },
        "prefix_hit_rate": _difference_points(*(_hit_rate(measured) for measured in pair)),
        "abort_share": _difference_points(*(m.facts["aborts"]["share"] for m in pair)),
    }


def _identity(measured: TraceMeasurements) -> dict[str, Any]:
    return {name: measured.facts[name] for name in ("path", "source", "requests", "duration_us")}


def _compare_column(name: str, one: TraceMeasurements, other: TraceMeasurements) -> dict[str, Any]:
    counts, other_counts = one.counts[name], other.counts[name]
    return {
        "trace": counts.spread(),
        "against": other_counts.spread(),
        "ks_distance": kolmogorov_smirnov(counts, other_counts),
        "is_exact": counts.is_exact and other_counts.is_exact,
    }


def _hit_rate(measured: TraceMeasurements) -> float | None:
    reuse = measured.facts["prefix_reuse"]
    return None if reuse is None else float(reuse["tokens_share"])


def _difference(one: float | None, other: float | None) -> dict[str, float | None]:
    difference = None if one is None or other is None else one - other
    return {"trace": one, "against": other, "difference": difference}


def _difference_points(one: float | None, other: float | None) -> dict[str, float | None]:
    compared = _difference(one, other)
    difference = compared.pop("difference")
    return {**compared, "difference_points": None if difference is None else 100 * difference}
