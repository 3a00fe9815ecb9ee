"""The table of a matrix: one row per cell, readable with `polars.read_parquet("results.parquet")`.

Everything follows from the matrix file, the traces and the version of kvreplay, whatever the number of
jobs, shards or machines, but for the columns whose names begin with `timing_`.
"""

from __future__ import annotations

import pyarrow as pa

from replay.run.matrix_axes import AXES

RESULTS_SCHEMA_NAME = "kvreplay.results/1"

#: What became of a cell, the best first. `failed` is a verdict (or a bound) other than expected;
#: `inconclusive` tested nothing or not enough; the last three have no verdict at all.
OUTCOMES = ("passed", "inconclusive", "failed", "timed-out", "out-of-memory", "crashed")

#: The columns that are axes.
AXIS_COLUMNS = tuple(AXES)

#: Where a swarm cell stands on the axes that its seed draws.
DRAWN = {name: axis.drawn for name, axis in AXES.items() if axis.drawn is not None}

RESULTS_SCHEMA = pa.schema(
    {
        # Which cell.
        "number": pa.int32(),
        "cell": pa.string(),
        **{name: pa.type_for_alias(axis.column) for name, axis in AXES.items()},
        "swarm": pa.bool_(),
        # How it fared against what was expected, and the line of the matrix file that expects it.
        "outcome": pa.string(),
        "because": pa.string(),
        "expected": pa.string(),
        "expected_line": pa.int32(),
        # What happened, from the cell's summary; null where there is none.
        "verdict": pa.string(),
        "why": pa.string(),
        "growth": pa.string(),
        "kinds": pa.string(),
        "pool": pa.string(),
        "available_tokens": pa.int64(),
        "evictable_tokens": pa.int64(),
        "protected_tokens": pa.int64(),
        "total_pool_tokens": pa.int64(),
        "gap_tokens": pa.int64(),
        "gap_tokens_max": pa.int64(),
        "heal_us_max": pa.int64(),
        "equation": pa.string(),
        "engine_message": pa.string(),
        "engine_check_fired": pa.bool_(),
        "engine_died_message": pa.string(),
        "episodes": pa.int32(),
        "episodes_open": pa.int32(),
        "faults_planned": pa.int64(),
        "faults_landed": pa.int64(),
        "faults_observed": pa.int64(),
        "rules_never_fired": pa.list_(pa.string()),
        "rules_without_effect": pa.list_(pa.string()),
        "requests_total": pa.int64(),
        "requests_finished": pa.int64(),
        "requests_aborted": pa.int64(),
        "requests_failed": pa.int64(),
        "requests_stuck": pa.int64(),
        "audits": pa.int64(),
        "virtual_us": pa.int64(),
        # What went wrong with the cell itself: a crash, its time or memory budget.
        "error": pa.string(),
        # How to see it again: the recording and report, as paths inside the matrix directory.
        "recording": pa.string(),
        "report": pa.string(),
        "recording_sha256": pa.string(),
        "reproduce": pa.string(),
        # Host-dependent.
        "timing_replay_s": pa.float64(),
        "timing_cell_s": pa.float64(),
        "timing_worker": pa.string(),
    }
)
