"""Two recordings on one page: what is said of them, that it adds up, and that it stays text."""

import json
import re

import pytest
from report_helpers import HOSTILE, copy_changed, record, write_trace

from faults.rule import FaultPlan, FaultRule
from reports.compare.comparison import make_comparison, make_result
from reports.compare.page import make_comparison_part
from reports.evidence import load
from reports.page import render_report


@pytest.fixture(scope="module")
def found(recordings):
    return {name: load(directory) for name, directory in recordings.items()}


@pytest.fixture(scope="module")
def gone_page(recordings):
    return render_report([recordings["leak"], recordings["clean"]], charts=False)


@pytest.mark.slow
def test_a_fixed_leak_is_gone_and_the_other_way_round_it_is_new(found):
    tokens = found["leak"].summary["final_gap"]["tokens"]
    forth = make_comparison(found["leak"], found["clean"])
    assert forth.result.change == "gone"
    assert forth.result.sentence == f"the leak is gone: {tokens:,} tokens before, none after"
    back = make_comparison(found["clean"], found["leak"])
    assert back.result.change == "new"
    assert back.result.sentence == f"new: {tokens:,} tokens, none before"
    assert forth.episode_counts["disappeared"] == back.episode_counts["new"] > 0
    assert forth.owner_counts["disappeared"] == back.owner_counts["new"] > 0


def test_a_recording_and_itself_are_unchanged(found):
    for evidence in found.values():
        comparison = make_comparison(evidence, evidence)
        assert comparison.result.change == (
            "unclear" if evidence.summary["verdict"] == "inconclusive" else "unchanged"
        )
        assert comparison.likeness.differences == comparison.likeness.warnings == ()
        assert set(comparison.episode_counts.values()) <= {0, len(evidence.episodes)}
        assert comparison.fates.changed == ()


def test_every_pair_adds_up(found):
    for one in found.values():
        for two in found.values():
            comparison = make_comparison(one, two)
            assert all(check.passed for check in comparison.checks), comparison.checks
            assert len(comparison.matches) == sum(comparison.episode_counts.values())


def test_a_comparison_that_does_not_add_up_is_said_on_the_page(recordings, tmp_path):
    copy = copy_changed(recordings["leak"], tmp_path / "copy")
    run = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(run))
    other = load(copy)
    other.summary["episodes"] += 1
    comparison = make_comparison(load(recordings["clean"]), other)
    assert [check.passed for check in comparison.checks].count(False) == 1


def test_a_bug_that_was_fixed(tmp_path):
    """The same trace, plan and seed with a known bug of real engines and without it."""
    trace = write_trace(tmp_path / "trace.parquet", requests=25)
    plan = FaultPlan((FaultRule(name="lost", fault="drop", occurrences=frozenset({3})),))
    before = record(tmp_path / "before", trace, "sglang-0.4.6.post4", plan)
    after = record(tmp_path / "after", trace, "hardened", plan)
    comparison = make_comparison(load(before), load(after))
    assert comparison.likeness.same_trace and comparison.likeness.same_plan
    assert comparison.result.change == "gone"
    assert any(each.what.startswith("profile: ") for each in comparison.likeness.differences)
    assert comparison.faults.touched == (1, 0, 0)
    [(fates, count)] = comparison.fates.changes.items()
    assert fates[0] == "never ended, in the state transfer" and count == 1


def test_other_traces_are_compared_with_care(found, tmp_path):
    other = write_trace(tmp_path / "other.parquet", requests=20)
    lost = FaultRule(name="lost", fault="drop", occurrences=frozenset({3}))
    short = record(tmp_path / "short", other, "sglang-0.4.6.post4", FaultPlan((lost,)))
    comparison = make_comparison(found["leak"], load(short))
    assert not comparison.likeness.same_trace
    assert any("traces differ" in warning for warning in comparison.likeness.warnings)
    assert comparison.fates is None and comparison.faults.touched is None
    assert comparison.result.change in ("better", "worse", "unchanged", "changed")
    assert all(check.passed for check in comparison.checks)


def summary(verdict, lasting=0, widest=0, **kinds):
    mismatch = {"gap": widest} if widest else None
    direction = "leak" if widest else None
    pools = {"decode0/dp0": lasting} if lasting else {}
    return {
        "verdict": verdict,
        "final_gap": {"tokens": lasting, "pools": pools},
        "mismatch": mismatch,
        "direction": direction,
        "kinds": kinds,
    }


class Judged:
    def __init__(self, *args, **kinds):
        self.summary = summary(*args, **kinds)


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (Judged("persistent", 640, 640), Judged("clean"), "gone"),
        (Judged("persistent", 640, 640), Judged("transient", 0, 64), "gone"),
        (Judged("persistent", 640, 640), Judged("persistent", 64, 640), "better"),
        (Judged("persistent", 64, 64), Judged("persistent", 640, 640), "worse"),
        (Judged("persistent", 64, 64, stuck=1), Judged("persistent", 64, 64, stuck=1), "unchanged"),
        (Judged("persistent", 64, 64, stuck=1), Judged("persistent", 64, 64, held=1), "changed"),
        (Judged("transient", 0, 64), Judged("persistent", 64, 64), "new"),
        (Judged("transient", 0, 64), Judged("transient", 0, 128), "worse"),
        (Judged("transient", 0, 64), Judged("clean"), "gone"),
        (Judged("clean"), Judged("transient", 0, 64), "new"),
        (Judged("clean"), Judged("clean"), "unchanged"),
        (Judged("inconclusive", 64, 64), Judged("clean"), "unclear"),
        (Judged("clean"), Judged("inconclusive", 64, 64), "unclear"),
    ],
)
def test_what_became_of_it(before, after, change):
    result = make_result(before, after)
    assert result.change == change
    assert result.sentence and "\n" not in result.sentence


def test_the_page_of_two_begins_with_their_comparison(gone_page, recordings):
    assert (
        gone_page.index('id="comparison"') < gone_page.index('id="r1"') < gone_page.index('id="r2"')
    )
    assert "Before and after" in gone_page and "The leak is gone" in gone_page
    three = [recordings[name] for name in ("leak", "late", "clean")]
    page = render_report(three, charts=False)
    assert 'id="comparison"' not in page and 'id="overview"' in page


def test_nothing_from_outside_is_markup(recordings):
    page = render_report([recordings["leak"], recordings["over-free"]], charts=False)
    assert HOSTILE not in page and "<img" not in page
    assert len(re.findall(r"<script", page)) == 1
    assert "twice &lt;script&gt;" in page


def test_both_curves_are_on_the_same_scales_with_their_numbers(found):
    comparison = make_comparison(found["leak"], found["late"])
    curves = make_comparison_part(comparison).curves
    assert curves
    highest = {}
    for pair in curves:
        extremes, axes = [], []
        for curve in pair.curves:
            assert curve.wide.startswith("<svg") and curve.narrow.startswith("<svg")
            ends = re.search(r"between (\S+) and (\S+) tokens", curve.label).groups()
            extremes += [int(end.replace(",", "")) for end in ends]
            axes.append(re.findall(r'text-anchor="end"[^>]*>([^<]+)<', curve.wide))
        assert axes[0] == axes[1]
        cells = [cell for _, *cells in pair.table.rows for cell in cells]
        told = [int(cell.replace(",", "")) for cell in cells if cell != "\N{EM DASH}"]
        assert max(told) == max(extremes) == highest.setdefault(pair.title, max(extremes))
    assert curves[0].title == "All pools together"
    for evidence in (comparison.before, comparison.after):
        mismatch = evidence.summary["mismatch"]
        assert highest[mismatch["pool"]] >= mismatch["gap"]


def test_the_same_two_draw_the_same_page(recordings, gone_page):
    assert render_report([recordings["leak"], recordings["clean"]], charts=False) == gone_page
