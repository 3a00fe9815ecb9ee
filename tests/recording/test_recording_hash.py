"""The fingerprint of a recording: the same wherever it was made, another when anything differs."""

import shutil

import pytest
from fault_helpers import requests_every

from replay.recording.fingerprint import hash_recording
from traces.schema import TraceRequest

PLAN = """
comment = "{comment}"

[[rule]]
name = "{name}"
fault = "delay"
probability = {probability}
delay_us = {delay_us}
"""
GIVEN = {"comment": "c", "name": "late", "probability": 0.5, "delay_us": 700_000}


@pytest.fixture
def fingerprint(write_trace, run_json, tmp_path):
    """The hash of one run, with something changed."""

    def make(folder, *words, requests=None, profile="hardened", **plan):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        trace = write_trace(requests or requests_every(300_000, 10))
        path = place / f"{folder}.toml"
        path.write_text(PLAN.format(**(GIVEN | plan)))
        moved = place / f"{folder}.parquet"
        shutil.move(trace, moved)
        words = (moved, "--profile", profile, "--plan", path, *words)
        _, summary = run_json(*words, "--out", place / "out")
        assert summary["recording_sha256"] == hash_recording(place / "out")
        return summary["recording_sha256"]

    return make


def test_where_things_lie_and_what_they_are_called_is_not_in_it(fingerprint):
    one = fingerprint("one")
    assert len(one) == 64
    assert fingerprint("other", comment="something else") == one
    assert fingerprint("spelt-out", "--seed", "0", "--heal-budget", "600") == one


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        (("--seed", "1"), {}),
        (("--set", "page_size=16"), {}),
        (("--repeat", "1"), {}),
        (("--heal-budget", "599"), {}),
        (("--audit", "every-step"), {}),
        (("--stop-on-engine-error",), {}),
        (("--drop", "0"), {}),
        (("--swarm",), {}),
        ((), {"name": "later"}),
        ((), {"probability": 0.25}),
        ((), {"delay_us": 700_001}),
        ((), {"delay_us": "{ uniform = [700000, 700000] }"}),
        ((), {"profile": "sglang-0.5.23"}),
        ((), {"requests": requests_every(300_000, 9)}),
        ((), {"requests": [*requests_every(300_000, 9), TraceRequest("q9", 2_700_000, 100, 21)]}),
        ((), {"requests": [*requests_every(300_000, 9), TraceRequest("q0x", 2_700_000, 100, 20)]}),
    ],
)
def test_everything_that_was_replayed_is_in_it(fingerprint, words, changed):
    assert fingerprint("one") != fingerprint("other", *words, **changed)


@pytest.mark.parametrize(
    "table", ["audits", "events", "owners", "requests", "contents", "episodes"]
)
def test_every_table_is_in_it(fingerprint, tmp_path, table):
    before = fingerprint("one")
    with (tmp_path / "one" / "out" / f"{table}.parquet").open("ab") as file:
        file.write(b"\0")
    assert hash_recording(tmp_path / "one" / "out") != before
