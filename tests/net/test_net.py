"""Replays say what they said before the code was laid out anew: every value of every table."""

import json
from pathlib import Path

import pytest
from net_replays import facts, missing, net_replays, write_net_traces

NET = json.loads((Path(__file__).parent / "net.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    write_net_traces(folder)
    return folder


def test_the_net_is_of_these_replays():
    assert {line.rpartition(": ")[0] for line in NET} == set(net_replays())
    assert len(net_replays()) >= 40


@pytest.mark.parametrize("case", net_replays())
def test_a_replay_says_what_it_said(case, traces, tmp_path):
    now = facts(net_replays()[case], traces, tmp_path / "out")
    before = {place: NET[f"{case}: {place}"] for place in now}
    assert missing(before, now) == []


def test_a_renamed_or_new_column_changes_nothing_and_a_changed_value_does():
    before = {"events": {"result": "a", "rule": "b", "fault": "b"}}
    assert missing(before, {"events": {"outcome": "a", "rule": "b", "fault": "b", "x": "y"}}) == []
    assert missing(before, {"events": {"outcome": "c", "rule": "b", "fault": "b"}}) == [
        "events.result"
    ]
    assert missing(before, {"events": {"result": "a", "rule": "b"}}) == ["events.fault"]
    swapped = {"events": {"result": "b", "rule": "a", "fault": "b"}}
    assert missing(before, swapped) == ["events.result", "events.rule"]
