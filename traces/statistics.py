"""What is in a trace, in numbers: sizes, rates, ties, shared prefixes, sessions, aborts.

Polars does the arithmetic on the file's columns; the rows are validated first, as a stream.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from traces.dataset import Trace, open_trace

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_BIN_S = (1, 60)


def inspect_trace(path: str | Path) -> dict[str, Any]:
    """Describe a trace as plain JSON values.

    Keys: `path`, `source`, `block_size`, `requests`, `input_tokens`, `output_tokens` (totals),
    `duration_us` (first to last arrival), `per_request` (min, p50, p90, p99, max and mean of
    `input_tokens`, `output_tokens` and `inter_arrival_us`; quantiles interpolate linearly; None
    where there is no value), `rate_per_s` (`mean` = 1 / mean inter-arrival time, and the busiest
    1 s and 60 s bin counted from time 0), `ties`, `prefix_reuse` (of the prompts that have block
    hashes: blocks and tokens that an earlier request already had, as an infinite cache would
    find them), `sessions`, `aborts`, `priorities`.

    Raises:
        TraceError: the file is no trace or a row is wrong.
    """
    trace = open_trace(path)
    trace.validate()
    # A glob character in a file name is a character.
    frame = pl.scan_parquet(trace.path, glob=False)
    totals = (
        frame.select(
            requests=pl.len(),
            input_tokens=pl.col("input_tokens").cast(pl.Int64).sum(),
            output_tokens=pl.col("output_tokens").cast(pl.Int64).sum(),
            first_us=pl.col("arrival_us").min(),
            last_us=pl.col("arrival_us").max(),
        )
        .collect()
        .row(0, named=True)
    )
    requests = int(totals["requests"])
    duration_us = int(totals["last_us"] - totals["first_us"]) if requests else 0
    gaps = frame.select(inter_arrival_us=pl.col("arrival_us").diff().slice(1))
    return {
        "path": str(trace.path),
        "source": trace.source,
        "block_size": trace.block_size,
        "requests": requests,
        "input_tokens": int(totals["input_tokens"]),
        "output_tokens": int(totals["output_tokens"]),
        "duration_us": duration_us,
        "per_request": {
            "input_tokens": _spread(frame, "input_tokens"),
            "output_tokens": _spread(frame, "output_tokens"),
            "inter_arrival_us": _spread(gaps, "inter_arrival_us"),
        },
        "rate_per_s": _rates(frame, requests, duration_us),
        "ties": _ties(frame),
        "prefix_reuse": _prefix_reuse(frame, trace),
        "sessions": _sessions(frame),
        "aborts": _aborts(frame, requests),
        "priorities": _priorities(frame),
    }


def _spread(frame: pl.LazyFrame, column: str) -> dict[str, float | int | None]:
    values = pl.col(column)
    return (
        frame.select(
            min=values.min(),
            **{name: values.quantile(share, "linear") for name, share in _QUANTILES.items()},
            max=values.max(),
            mean=values.mean(),
        )
        .collect()
        .row(0, named=True)
    )


def _rates(frame: pl.LazyFrame, requests: int, duration_us: int) -> dict[str, float | None]:
    rates: dict[str, float | None] = {
        "mean": (requests - 1) / (duration_us / 1e6) if duration_us else None
    }
    for seconds in _BIN_S:
        busiest = (
            frame.group_by(pl.col("arrival_us") // (seconds * 1_000_000))
            .len()
            .select(pl.col("len").max())
            .collect()
            .item()
        )
        rates[f"peak_{seconds}s"] = None if busiest is None else int(busiest) / seconds
    return rates


def _ties(frame: pl.LazyFrame) -> dict[str, int]:
    row = (
        frame.group_by("arrival_us")
        .len()
        .select(distinct_arrivals=pl.len(), largest=pl.col("len").max().fill_null(0))
        .collect()
        .row(0, named=True)
    )
    return {key: int(value or 0) for key, value in row.items()}


def _prefix_reuse(frame: pl.LazyFrame, trace: Trace) -> dict[str, int | float] | None:
    """Count what earlier requests had already; None when no prompt has block hashes."""
    if trace.block_size is None:
        return None
    size = trace.block_size
    hashed = frame.filter(pl.col("block_hashes").is_not_null())
    # The last block of a prompt may be partial and then counts for the tokens it has.
    tail = pl.col("input_tokens").cast(pl.Int64) - (pl.col("block_hashes").list.len() - 1) * size
    counted = (
        hashed.with_row_index("row")
        .select("row", "block_hashes", tail=tail)
        .explode("block_hashes")
        .with_columns(
            is_seen=~pl.col("block_hashes").is_first_distinct(),
            tokens=pl.when(pl.col("row").eq_missing(pl.col("row").shift(-1)))
            .then(size)
            .otherwise(pl.col("tail")),
        )
        .select(
            requests_with_hashes=pl.col("row").n_unique(),
            blocks=pl.len(),
            blocks_seen=pl.col("is_seen").sum(),
            tokens=pl.col("tokens").sum(),
            tokens_seen=pl.col("tokens").filter(pl.col("is_seen")).sum(),
        )
        .collect()
        .row(0, named=True)
    )
    counts: dict[str, int | float] = {key: int(value or 0) for key, value in counted.items()}
    if not counts["blocks"]:
        return None
    counts["blocks_share"] = counts["blocks_seen"] / counts["blocks"]
    counts["tokens_share"] = counts["tokens_seen"] / counts["tokens"]
    return counts


def _sessions(frame: pl.LazyFrame) -> dict[str, int | float | None]:
    row = (
        frame.filter(pl.col("session_id").is_not_null())
        .group_by("session_id")
        .len()
        .select(
            count=pl.len(),
            requests=pl.col("len").sum(),
            turns_mean=pl.col("len").mean(),
            turns_max=pl.col("len").max(),
        )
        .collect()
        .row(0, named=True)
    )
    return row


def _aborts(frame: pl.LazyFrame, requests: int) -> dict[str, Any]:
    aborted = frame.filter(pl.col("cancel_us").is_not_null()).select(
        after_us=pl.col("cancel_us") - pl.col("arrival_us")
    )
    count = int(aborted.select(pl.len()).collect().item())
    return {
        "count": count,
        "share": count / requests if requests else None,
        "after_us": _spread(aborted, "after_us"),
    }


def _priorities(frame: pl.LazyFrame) -> dict[str, int]:
    rows = (
        frame.filter(pl.col("priority").is_not_null())
        .group_by("priority")
        .len()
        .sort("priority")
        .collect()
    )
    return {str(priority): int(count) for priority, count in rows.iter_rows()}
