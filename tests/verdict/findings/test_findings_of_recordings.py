"""Findings of real replays: whatever the bug, a persistent verdict has one that lasts, and sums agree."""

import pytest
from schedule_runs import run_schedule

from replay.profiles.defects import all_defects
from reports.evidence import load
from reports.parts.findings.part import check_findings
from reports.section import make_section


@pytest.mark.slow
@pytest.mark.parametrize("defect", [None, *all_defects()])
def test_findings_explain_the_verdict_and_add_up(defect, tmp_path):
    for seed in (10, 24):
        out = tmp_path / str(seed)
        run_schedule(seed, () if defect is None else (defect,), keep=out)
        evidence = load(out)
        verdict = evidence.summary["verdict"]
        lasting = [finding for finding in evidence.findings if finding.lasts]
        # What lasts and can go on is what a replay that ended early cannot tell.
        unforgivable = [finding for finding in lasting if finding.category != "still held"]
        assert verdict != "persistent" or unforgivable
        assert verdict not in ("clean", "transient") or not lasting
        for finding in evidence.findings:
            came_back = ("still held", "over-freed", "false alarm")
            assert finding.lasts or finding.category in came_back
        section = make_section(evidence, "r1", charts=False)
        assert [check for check in section.checks if not check.passed] == []


def changed(evidence, finding, **keys):
    """The same findings with the first block of one of them changed."""
    import dataclasses

    place = evidence.findings.index(finding)
    block = dataclasses.replace(finding.blocks[0], **keys)
    other = dataclasses.replace(finding, blocks=(block, *finding.blocks[1:]))
    return (*evidence.findings[:place], other, *evidence.findings[place + 1 :])


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    out = tmp_path_factory.mktemp("leaky") / "recording"
    run_schedule(24, ("rejected-request-leaks",), keep=out)
    return load(out)


def failed(evidence, findings):
    return [check.claim for check in check_findings(evidence, findings) if not check.passed]


def test_a_page_too_many_or_a_finding_too_few_is_found_out(leaky):
    assert failed(leaky, leaky.findings) == []
    worst = next(finding for finding in leaky.findings if finding.lasts and finding.episodes)
    more = changed(leaky, worst, pages=worst.blocks[0].pages + 1)
    assert [claim.split(",")[0].split(" =")[0] for claim in failed(leaky, more)] == [
        "pages by kind in the findings",
        "pages in findings of gaps",
        "by pool",
    ]
    fewer = tuple(finding for finding in leaky.findings if finding is not worst)
    assert len(failed(leaky, fewer)) == 3


def test_a_request_that_nobody_tells_of_is_found_out(tmp_path):
    from replay.verdict.findings.finding import NEVER_ENDED

    run_schedule(0, ("ranks-poll-alone",), keep=tmp_path / "recording")
    evidence = load(tmp_path / "recording")
    told = [each for each in evidence.findings if each.kind != NEVER_ENDED]
    assert len(told) < len(evidence.findings)
    assert any("never ended" in claim for claim in failed(evidence, told))
