"""Two traces side by side: how far apart their distributions, rates and shared prefixes are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from traces.statistics.inspection import COUNTED, TraceMeasurements, measure_trace
from traces.statistics.value_counts import kolmogorov_smirnov


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
