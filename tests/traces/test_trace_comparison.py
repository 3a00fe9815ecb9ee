"""Value counts, the Kolmogorov-Smirnov distance and `trace inspect --against`, by slow references."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_helpers import make_request

import traces.statistics.value_counts
from replay.cli import run_command_line
from traces.errors import TraceError
from traces.statistics.inspection import compare_traces
from traces.statistics.value_counts import (
    RELATIVE_ERROR_MAX,
    RunLengths,
    ValueCounts,
    kolmogorov_smirnov,
)

VALUES = st.lists(st.one_of(st.integers(0, 9), st.integers(0, 2**62)), max_size=40)


def _counts(values, step=7):
    counts = ValueCounts()
    for start in range(0, len(values), step):
        counts.add(np.array(values[start : start + step], np.int64))
    return counts


def _slow_distance(one, other):
    """|F - G| right after every value, by counting."""
    return max(
        abs(sum(a <= x for a in one) / len(one) - sum(b <= x for b in other) / len(other))
        for x in {*one, *other}
    )


@given(VALUES, VALUES)
def test_the_distance_is_the_slow_one(one, other):
    found = kolmogorov_smirnov(_counts(one), _counts(other))
    if not one or not other:
        assert found is None
    else:
        assert found == pytest.approx(_slow_distance(one, other), abs=1e-12)


def test_sums_beyond_64_bits():
    assert _counts([2**62] * 7).spread()["mean"] == 2.0**62


def test_ties_and_equal_distributions():
    assert kolmogorov_smirnov(_counts([5, 5, 5]), _counts([5])) == 0
    assert kolmogorov_smirnov(_counts([1, 2, 2, 3] * 7), _counts([1, 2, 2, 3])) == 0
    assert kolmogorov_smirnov(_counts([1, 1]), _counts([2])) == 1
    assert kolmogorov_smirnov(_counts([2, 2, 2, 4]), _counts([2, 4, 4, 4])) == 0.5


@given(VALUES.filter(bool))
def test_spreads_are_numpys(values):
    spread = _counts(values).spread()
    exact = np.array(values, object)
    assert (spread["min"], spread["max"]) == (min(values), max(values))
    assert spread["mean"] == pytest.approx(float(exact.sum()) / len(values))
    for name, share in (("p50", 50), ("p90", 90), ("p99", 99)):
        assert spread[name] == pytest.approx(np.percentile(np.array(values, float), share))


@given(VALUES.filter(bool), VALUES.filter(bool))
def test_many_different_values_are_rounded_a_little_and_say_so(values, others):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traces.statistics.value_counts, "DISTINCT_MAX", 4)
        patch.setattr(traces.statistics.value_counts, "_PENDING_VALUES", 8)
        counts = _counts(values)
        rounded, how_often = counts.table()
        assert counts.is_exact == (len(set(values)) <= 4)
        assert how_often.sum() == len(values)
        if counts.is_exact:
            return
        spread = counts.spread()
        assert (spread["min"], spread["max"]) == (min(values), max(values))
        assert spread["mean"] == pytest.approx(sum(values) / len(values))
        expected = np.repeat(rounded, how_often).astype(float)
        assert np.abs(expected - sorted(values)) == pytest.approx(0, abs=0) or np.all(
            np.abs(expected - sorted(values)) <= RELATIVE_ERROR_MAX * np.sort(values)
        )
        assert kolmogorov_smirnov(counts, _counts(values)) == 0
        # An exact distribution is rounded alike before it is compared with a rounded one.
        coarse = traces.statistics.value_counts._coarse
        exact = _counts(others[:4])
        assert kolmogorov_smirnov(counts, exact) == pytest.approx(
            _slow_distance(
                coarse(np.array(values)).tolist(), coarse(np.array(others[:4])).tolist()
            ),
            abs=1e-12,
        )


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 9))
def test_runs_of_a_stream_in_pieces(values, step):
    values.sort()
    runs = RunLengths()
    for start in range(0, len(values), step):
        runs.add(np.array(values[start : start + step], np.int64))
    occurrences = [values.count(value) for value in set(values)]
    assert runs.distinct == len(occurrences)
    assert runs.longest == max(occurrences, default=0)
    if values:
        windows = np.bincount(np.array(values) - values[0])
        assert runs.dispersion() == pytest.approx(windows.var() / windows.mean(), abs=1e-9)
    else:
        assert runs.dispersion() is None


def _trace(write_trace, name, gap_us, hit, aborted, block_size=16):
    rows = []
    for index in range(20):
        hashes = [1, 2] if hit else [2 * index, 2 * index + 1]
        rows.append(
            make_request(
                index,
                arrival_us=index * gap_us,
                input_tokens=32,
                output_tokens=1 + index % 4,
                block_hashes=np.array(hashes, np.uint64) if block_size else None,
                cancel_us=index * gap_us + 5 if index < aborted else None,
            )
        )
    return write_trace(rows, name, block_size)


def test_a_comparison_counted_by_hand(write_trace):
    one = _trace(write_trace, "one", 1_000_000, True, 5)
    other = _trace(write_trace, "other", 2_000_000, False, 0)
    seen = []
    facts = compare_traces(one, other, seen.append)
    assert seen == [20, 40]
    assert (facts["trace"]["path"], facts["against"]["path"]) == (str(one), str(other))
    columns = facts["columns"]
    assert columns["input_tokens"]["ks_distance"] == columns["output_tokens"]["ks_distance"] == 0
    assert columns["inter_arrival_us"]["ks_distance"] == 1
    assert columns["inter_arrival_us"]["against"]["p50"] == 2_000_000
    assert columns["after_us"]["ks_distance"] is None
    assert columns["after_us"]["trace"]["max"] == 5
    assert facts["prefix_hit_rate"] == {
        "trace": 0.95,
        "against": 0.0,
        "difference_points": pytest.approx(95),
    }
    assert facts["abort_share"]["difference_points"] == pytest.approx(25)
    assert facts["rate_per_s"]["mean"] == {"trace": 1.0, "against": 0.5, "difference": 0.5}
    assert facts["rate_per_s"]["peak_60s"]["difference"] == 0
    plain = _trace(write_trace, "plain", 1_000_000, True, 0, block_size=None)
    assert compare_traces(one, plain)["prefix_hit_rate"]["difference_points"] is None


def test_a_trace_does_not_differ_from_itself(write_trace):
    path = _trace(write_trace, "one", 1_000_000, True, 5)
    facts = compare_traces(path, path)
    assert all(column["ks_distance"] == 0 for column in facts["columns"].values())
    assert facts["prefix_hit_rate"]["difference_points"] == 0


def test_the_command_for_people_and_machines(write_trace, tmp_path, capsys):
    one = _trace(write_trace, "one", 1_000_000, True, 5)
    empty = write_trace([], "empty", None)
    for against in (one, empty):
        arguments = ["trace", "inspect", str(one), "--against", str(against)]
        assert run_command_line(arguments) == 0
        shown = capsys.readouterr().out
        assert all(words in shown for words in ("against", "prefix hit rate", "abort share"))
        assert run_command_line([*arguments, "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["columns"]["input_tokens"]["ks_distance"] in (0, None)
    assert run_command_line(["trace", "inspect", str(one), "--against", str(tmp_path)]) == 2
    assert "is a directory" in capsys.readouterr().err
    with pytest.raises(TraceError, match="no such file"):
        compare_traces(one, tmp_path / "none")
