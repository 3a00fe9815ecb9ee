"""Samples of metrics as Prometheus writes them: a text exposition, or the answer to a range query.

    sglang:token_usage{model_name="m",tp_rank="0"} 0.31 1760000000000
    {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {...}, "values": ...}]}}

Formats: prometheus.io "Exposition formats" 0.0.4 (times in milliseconds) and OpenMetrics (seconds),
"HTTP API", range queries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from replay.errors import LogError

_SAMPLE = re.compile(
    r"([A-Za-z_:][A-Za-z0-9_:]*)\s*(?:\{(.*)\})?\s+([-+]?(?:[0-9.eE+-]+|NaN|Inf))"
    r"(?:\s+(-?[0-9.]+))?\s*(?:#.*)?$"
)
_LABEL = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"')
#: Times above this are milliseconds: in seconds it is the year 5138.
_SECONDS_MAX = 1e11


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one gauge."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float
    time_s: float | None
    line: int


def text_samples(lines: Iterable[str]) -> Iterator[Sample]:
    """The samples of a text exposition; comments and other lines are skipped."""
    for number, line in enumerate(lines, start=1):
        if line.startswith("#"):
            continue
        found = _SAMPLE.match(line.strip())
        if found is None:
            continue
        name, labels, value, time = found.groups()
        number_value = _number(value)
        if number_value is None:
            continue
        pairs = tuple((key, _unescaped(text)) for key, text in _LABEL.findall(labels or ""))
        yield Sample(name, pairs, number_value, _seconds(time), number)


def json_samples(name: str, text: str) -> list[Sample]:
    """The samples of a query's answer, in the order of their times.

    Raises:
        LogError: it is no such answer.
    """
    try:
        results = json.loads(text)["data"]["result"]
        samples = [sample for each in results for sample in _series_samples(each)]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise LogError(
            f"{name}: is JSON but not the response to a Prometheus query; save the response of "
            "/api/v1/query_range, or a scrape of /metrics"
        ) from None
    return sorted(samples, key=lambda sample: sample.time_s or 0.0)


def _series_samples(series: Any) -> Iterator[Sample]:
    metric = {str(key): str(value) for key, value in series["metric"].items()}
    name = metric.pop("__name__", "")
    labels = tuple(sorted(metric.items()))
    values = series["values"] if "values" in series else [series["value"]]
    for time, value in values:
        number = _number(str(value))
        if number is not None:
            yield Sample(name, labels, number, float(time), 1)


def iso_time(time_s: float | None) -> str | None:
    """A time as ISO 8601, or None where it is no time."""
    if time_s is None:
        return None
    try:
        return datetime.fromtimestamp(time_s, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    # Gauges that are not set are NaN.
    return value if abs(value) < float("inf") else None


def _seconds(text: str | None) -> float | None:
    value = None if text is None else _number(text)
    if value is None:
        return None
    return value / 1000 if abs(value) > _SECONDS_MAX else value


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)
