"""Quantiles and throughput, compared with a plain computation over the rows."""

import dataclasses
import math
import re
import shlex

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_helpers import record, write_trace

from faults.rule import FaultPlan, FaultRule
from replay.cli import run_command_line
from reports.drawings.step_chart import MEDIUM, NARROW
from reports.evidence import load
from reports.page import render_report
from reports.parts.latency.baseline import baseline_of, how_to_make_it
from reports.parts.latency.drawing import draw_curves
from reports.parts.latency.measures import groups_of, is_the_slowest, quantile, rates_of
from reports.parts.latency.part import check_latency, make_latency
from reports.section import make_section

PROFILE = "sglang-0.4.6.post4"


@given(st.lists(st.integers(0, 10**9), max_size=300), st.integers(1, 100))
def test_a_quantile_is_the_smallest_value_that_enough_do_not_exceed(values, percent):
    found = quantile(np.sort(np.array(values, np.float64)), percent)
    enough = [value for value in values if sum(v <= value for v in values) * 100 >= percent * len(values)]  # fmt: skip
    assert found == (min(enough) if values else None)
    assert is_the_slowest(len(values), percent) is (
        bool(values) and math.ceil(percent * len(values) / 100) == len(values)
    )


def test_the_quantiles_that_are_shown_on_round_counts():
    hundred = np.arange(1, 101, dtype=np.float64)
    assert [quantile(hundred, percent) for percent in (50, 90, 95, 99, 100)] == [
        50,
        90,
        95,
        99,
        100,
    ]
    assert quantile(hundred[:2], 50) == 1
    assert [is_the_slowest(count, 99) for count in (1, 99, 100, 101)] == [True, True, False, False]


def plain(rows, chosen):
    """First token, inter-token and end-to-end times, the slow way."""
    mine = [row for row in rows if chosen(row)]
    finished = [row for row in mine if row["decode_state"] == "finished"]
    return (
        sorted(row["running_us"] - row["arrival_us"] for row in mine if row["running_us"] >= 0),
        sorted(
            (row["ended_us"] - row["running_us"]) / (row["output_tokens"] - 1)
            for row in finished
            if row["output_tokens"] > 1
        ),
        sorted(row["ended_us"] - row["arrival_us"] for row in finished),
    )


@pytest.mark.parametrize("name", ["clean", "leak", "late", "busy", "over-free"])
def test_groups_hold_what_the_rows_hold(recordings, name):
    evidence = load(recordings[name])
    rows = evidence.tables["requests"].to_pylist()
    touched = {
        row["request_id"]
        for row in evidence.tables["events"].to_pylist()
        if row["rule"] is not None
    }
    chosen = {
        "all, with faults": lambda row: True,
        "all, without faults": lambda row: True,
        "touched": lambda row: row["request_id"] in touched,
        "not touched": lambda row: row["request_id"] not in touched,
    }
    groups = groups_of(evidence)
    assert [group.name for group in groups] == (
        ["all, without faults"]
        if name == "clean"
        else ["all, with faults", "touched", "not touched"]
    )
    for group in groups:
        expected = plain(rows, chosen[group.name])
        found = (group.first_token, group.inter_token, group.end_to_end)
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.tolist() == pytest.approx(theirs)
    assert all(check.passed for check in check_latency(evidence, make_latency(evidence)))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """With faults and two clean cycles, without, and without under another profile."""
    root = tmp_path_factory.mktemp("pair")
    trace = str(write_trace(root / "trace.parquet"))
    common = [trace, "--profile", PROFILE, "--device", "cpu"]
    faulty = ["--delay", "0.2:900", "--repeat", "2", "--seed", "3", "--out", str(root / "faulty")]
    run_command_line(["run", *common, *faulty])
    run_command_line(["run", *common, "--seed", "9", "--out", str(root / "calm")])
    other = ["--set", "decode_dp=4", "--set", "decode_tp=4", "--seed", "3"]
    run_command_line(["run", *common, *other, "--out", str(root / "other")])
    return {name: load(root / name) for name in ("faulty", "calm", "other")}


def test_clean_cycles_are_a_group_and_phases_of_their_own(pair):
    groups = {group.name: group for group in groups_of(pair["faulty"])}
    assert groups["clean cycles after"].requests == 80
    assert groups["all, with faults"].requests == 40
    rates = rates_of(pair["faulty"])
    assert [rate.name for rate in rates] == ["inject", "heal", "repeat-1", "repeat-2"]
    assert [rate.finished for rate in rates][-2:] == [40, 40]
    rows = pair["faulty"].tables["requests"].to_pylist()
    for what in ("input_tokens", "output_tokens"):
        assert sum(getattr(rate, what) for rate in rates) == sum(row[what] for row in rows)


def test_the_same_replay_without_faults_is_the_baseline(pair):
    everything = list(pair.values())
    assert baseline_of(pair["faulty"], everything) is pair["calm"]
    assert baseline_of(pair["calm"], everything) is None
    assert baseline_of(pair["faulty"], [pair["faulty"], pair["other"]]) is None
    stopped = dataclasses.replace(pair["calm"], run=pair["calm"].run | {"stopped_early": True})
    assert baseline_of(pair["faulty"], [stopped]) is None
    trace = pair["calm"].run["trace"] | {"sha256": "0" * 64}
    changed = dataclasses.replace(pair["calm"], run=pair["calm"].run | {"trace": trace})
    assert baseline_of(pair["faulty"], [changed]) is None


def test_with_a_baseline_the_page_compares(pair):
    part = make_latency(pair["faulty"], pair["calm"])
    assert not part.lacks_baseline
    (last,) = [row for row in part.tables[0].rows if row[0] == "without faults"]
    slow = {row[0]: row[-1] for row in part.tables[0].rows}
    assert last[1] == "40"
    assert float(slow["touched"].replace(",", "")) > 900
    assert float(slow["without faults"].replace(",", "")) < 900
    assert "; without, 40 requests got a first token" in part.headline
    assert (
        make_section(pair["faulty"], "r1", charts=False, baseline=pair["calm"]).failed_checks == 0
    )


def test_without_one_it_gives_lines_that_make_one(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    part = make_latency(pair["faulty"])
    assert part.lacks_baseline
    run, report = (shlex.split(line) for line in part.make_baseline.split("\n"))
    assert run[:2] == ["kvreplay", "run"]
    assert "--delay" not in run
    run_command_line(run[1:])
    made = load(tmp_path / run[-1])
    assert baseline_of(pair["faulty"], [made]) is made
    assert report == ["kvreplay", "report", pair["faulty"].name, run[-1]]


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("kvreplay run t --profile p --drop 0.1 --plan 'a b.toml' --seed 7", "t --profile p --seed 7"),
        ("kvreplay run t --profile p --plan=x --duplicate=0.5 --repeat 3", "t --profile p"),
        ("kvreplay run t --profile p --set a=1 --defect d --audit every-step --delay 1:2",
         "t --profile p --set a=1 --defect d --audit every-step"),
        ("kvreplay run t --profile p --swarm --set decode_dp=2 --seed 1",
         "t --profile p --set decode_dp=2 --seed 1 --set page_size=32 --set mla=false"),
        ("python -m pytest tests/test_mine.py", None),
        ("kvreplay run 'unfinished", None),
    ],
)  # fmt: skip
def test_the_line_is_its_own_without_faults(pair, line, kept):
    swarm = {"settings": {"decode_dp": 8, "page_size": 32, "mla": False}, "rules": []}
    evidence = dataclasses.replace(
        pair["faulty"], name="a dir", run=pair["faulty"].run | {"reproduce": line, "swarm": swarm}
    )
    lines = how_to_make_it(evidence)
    expected = kept and f"kvreplay run {kept} --out 'a dir-without-faults'"
    assert (lines and lines.split("\n")[0]) == expected


def test_few_requests_are_said_to_be_few(recordings):
    part = make_latency(load(recordings["leak"]))
    assert any("p99 is the slowest one" in note and "touched (" in note for note in part.notes)


def test_nobody_was_served(tmp_path):
    """Everything is lost: no first token, no quantiles, and still a page."""
    trace = write_trace(tmp_path / "trace.parquet", requests=3)
    lost = FaultPlan((FaultRule(name="all", fault="drop"),))
    directory = record(tmp_path / "none", trace, PROFILE, lost)
    part = make_latency(load(directory))
    assert part.wide is None
    assert "none of 3 requests got a first token" in part.headline
    assert "Latency and throughput" in render_report([directory], charts=False)


def test_curves_count_those_that_never_had_a_token(recordings):
    """Its line stays up at the right edge, where a group that was served comes down."""
    groups = groups_of(load(recordings["leak"]))
    for size in (MEDIUM, NARROW):
        svg = draw_curves(groups, size)
        curves = re.findall(r'<path d="([^"]+)"[^>]* class="line"', svg)
        assert len(curves) == len(groups)
        # The line under a panel, from its left to its right end.
        left, bottom, width = map(float, re.findall(r'd="M([\d.]+),([\d.]+)h([\d.]+)"', svg)[0])
        right, top = left + width, 10.0
        for group, path in zip(groups, curves, strict=True):
            was_served = len(group.first_token) == group.requests
            assert path.endswith(f"V{bottom:g}") is was_served
            assert (path.rpartition("H")[2].partition("V")[0] == f"{right:g}") is not was_served
            unserved = 1 - len(group.first_token) / group.requests
            if 0 < unserved < 1:
                # 40 requests are two decades.
                lowest = max(float(y) for y in re.findall(r"V([\d.]+)", path))
                depth = bottom - top
                assert lowest == pytest.approx(top - math.log10(unserved) / 2 * depth, abs=0.1)
            for x, y in re.findall(r"H([\d.]+)V([\d.]+)", path):
                assert left <= float(x) <= right
                assert top <= float(y) <= bottom
