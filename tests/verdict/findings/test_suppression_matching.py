"""What a suppressions file accepts: never too much, never an expired entry, never half of a leak."""

import dataclasses
from datetime import date, timedelta

from finding_strategies import TODAY, findings, grouped, suppressions
from hypothesis import given

from replay.verdict.findings.finding import Block
from replay.verdict.findings.gate import Judged, gate
from replay.verdict.findings.suppressions import (
    Accepted,
    Suppression,
    Suppressions,
    accept,
    matches,
)

PROFILE = "sglang-0.4.6.post4"
SUMMARY = {
    "verdict": "persistent",
    "why": "",
    "faults": {"rules_never_fired": [], "rules_without_effect": []},
}


def bare(finding):
    return dataclasses.replace(finding, suppressed_by=None)


def one(**keys):
    entry = Suppression(name="one", reason="known", expires="2026-12-31", **keys)
    return Accepted(Suppressions(None, (entry,), (None,)), TODAY)


def block(**keys):
    given = {
        "category": "stuck", "kind": "stuck", "pool": "decode0/dp0", "request_id": "r1", "pages": 5,
        "lasts": True, "faults": ("drop",), "rules": ("lost",),
    }  # fmt: skip
    return Block(**(given | keys))


def accepted_pages(accepted, *drawn):
    return sum(
        f.pages for f in accept(grouped(drawn), PROFILE, accepted).findings if f.suppressed_by
    )


@given(findings, suppressions())
def test_findings_are_only_marked(found, entries):
    outcome = accept(found, PROFILE, Accepted(entries, TODAY))
    assert sorted(map(repr, map(bare, outcome.findings))) == sorted(map(repr, found))
    assert outcome == accept(found, PROFILE, Accepted(entries, TODAY))


@given(findings, suppressions())
def test_what_accepts_a_finding_matches_it_and_has_not_expired(found, entries):
    accepted = Accepted(entries, TODAY)
    outcome = accept(found, PROFILE, accepted)
    grown = {entry.name for entry, _ in outcome.outgrown}
    for finding in outcome.findings:
        hits = [
            entry
            for entry in entries.entries
            if matches(entry, finding, PROFILE)
            and entry.expires >= TODAY
            and entry.name not in grown
        ]
        assert finding.suppressed_by == (hits[0].name if hits else None)
    assert outcome.used == {f.suppressed_by for f in outcome.findings} - {None}


@given(findings, suppressions())
def test_no_entry_accepts_more_than_its_pages(found, entries):
    outcome = accept(found, PROFILE, Accepted(entries, TODAY))
    for entry in entries.entries:
        pages = sum(f.pages for f in outcome.findings if f.suppressed_by == entry.name and f.lasts)
        assert entry.pages_max is None or pages <= entry.pages_max


@given(findings, suppressions())
def test_the_gate_opens_only_when_all_that_lasts_is_accepted(found, entries):
    accepted = Accepted(entries, TODAY)
    outcome = accept(found, PROFILE, accepted)
    code = gate([Judged("here", SUMMARY, outcome)], accepted).code
    left = any(f.lasts and f.suppressed_by is None for f in outcome.findings)
    assert code == (1 if left or accepted.expired else 0)


def test_the_last_day_still_counts_and_the_next_does_not():
    accepted = one(fault="drop")
    for day, pages in ((date(2026, 12, 31), 5), (date(2027, 1, 1), 0)):
        assert accepted_pages(dataclasses.replace(accepted, today=day), block()) == pages
    assert accepted.days_left(accepted.suppressions.entries[0]) == 199
    assert TODAY + timedelta(199) == date(2026, 12, 31)


def test_every_owner_must_match():
    drawn = block(request_id="batch/1"), block(request_id="batch/2")
    assert accepted_pages(one(request="batch/*"), *drawn) == 10
    assert accepted_pages(one(request="batch/*"), *drawn, block(request_id="paid/1")) == 0
    assert accepted_pages(one(request="*"), block(request_id=None)) == 0


def test_a_list_is_any_of_it_and_keys_are_all_of_them():
    assert accepted_pages(one(pool=["prefill*", "decode0/*"]), block()) == 5
    assert accepted_pages(one(pool="decode0/*", kind="orphaned"), block()) == 0
    assert accepted_pages(one(profile="sglang-0.5*"), block()) == 0
    assert accepted_pages(one(fault="drop"), block(faults=("delay", "drop"))) == 0
    assert accepted_pages(one(fault=["drop", "delay"]), block(faults=("delay", "drop"))) == 5
    assert accepted_pages(one(fault="drop"), block(faults=(), rules=())) == 0
    assert accepted_pages(one(rule="l?st"), block()) == 5


def test_a_leak_that_grows_is_not_accepted_any_more():
    drawn = [block(), block(pool="decode0/dp1")]
    assert accepted_pages(one(fault="drop", pages_max=10), *drawn) == 10
    assert accepted_pages(one(fault="drop", pages_max=9), *drawn) == 0
    back = block(category="still held", kind="held", lasts=False, pages=100)
    assert accepted_pages(one(fault="drop", pages_max=10), *drawn, back) == 110


def test_of_many_findings_the_worst_are_named_and_the_rest_counted():
    accepted = one(fault="misroute")
    drawn = [block(pool=f"decode{place}/dp0", pages=10 - place) for place in range(7)]
    judged = Judged("here", SUMMARY, accept(grouped(drawn), PROFILE, accepted))
    *named, rest = [line for line in gate([judged], accepted).lines if "not accepted" in line]
    assert ["decode" + line.split("decode")[1][0] for line in named] == [
        f"decode{place}" for place in range(5)
    ]
    assert rest == "here: not accepted: 2 more findings"
