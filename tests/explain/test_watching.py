"""Watching: it changes nothing, waits for no device, and is not there when it is off."""

import dataclasses

import pytest
import torch
from life_helpers import every, page_of, record, watched
from no_waiting import NoWaiting, allow_in_waiting_places

from faults.rule import FaultRule
from replay.pool.device_arrays import DeviceArrays
from replay.pool.ledger import PageLedger
from replay.pool.storage import KvStorage
from replay.recording.sightings import Watch
from replay.run.origin import replayable
from replay.run.replay_once import replay as run
from replay.watch.base import Observer
from replay.watch.notebook import Notebook

LOST = FaultRule("lost", "drop", probability=0.2)


@pytest.fixture
def recording(tmp_path):
    """Requests with a common prefix, so that the cache has a part in it."""
    requests = every(40_000, 30, input_tokens=200)
    return record(tmp_path, "sglang-0.4.6.post4", requests, LOST, total_tokens=4_096)


@pytest.mark.slow
@pytest.mark.parametrize("target", [{"request_id": "q7"}, {"pool": "decode0/dp0", "page": 9}])
def test_on_a_device_it_sees_the_same_and_waits_only_to_fetch(target, recording, monkeypatch):
    seen, hashes = [], []
    for arrays in (None, DeviceArrays(torch.device("cpu"))):
        notebook = Notebook(Watch(**target))
        with replayable(recording, device="cpu") as request, NoWaiting() as mode:
            allow_in_waiting_places(monkeypatch, mode.pause)
            flush = Notebook.flush

            def paused(self, flush=flush, mode=mode):
                with mode.pause():
                    flush(self)

            with monkeypatch.context() as patch:
                patch.setattr(Notebook, "flush", paused)
                summary = run(
                    dataclasses.replace(request, arrays=arrays),
                    observers=[notebook],
                )
        hashes.append(summary["recording_sha256"])
        seen.append(([one[1:] for one in notebook.states], [one[1:] for one in notebook.pages]))
    assert seen[0] == seen[1]
    assert seen[0][1]
    assert set(hashes) == {recording.summary()["recording_sha256"]}


def test_an_ordinary_replay_has_plain_pools(recording, monkeypatch):
    """Watching costs nothing when it is off: there is nothing of it in the pools."""
    made = []

    class Looked(Observer):
        def begin(self, pair):
            made.append([(type(r.pool.ledger), type(r.pool.storage)) for r in pair.ranks()])

    with replayable(recording, device="cpu") as request:
        run(request, observers=[Looked()])
    assert made == [[(PageLedger, KvStorage)] * 2]


def test_a_page_and_a_request_agree_on_who_took_it_when(recording):
    _, of_page = page_of(recording, "decode0/dp0", 9)
    takes = [seen for seen in of_page.pages if seen.action == "take"]
    assert len(takes) > 3
    for taken in takes[:3]:
        life, of_request = watched(recording, of_page.name(taken.by[0]))
        same = [
            seen
            for seen in of_request.pages
            if (seen.time_us, seen.pool, seen.action) == (taken.time_us, "decode0/dp0", "take")
        ]
        assert any(9 in seen.pages for seen in same)
        assert any(9 in step.page_numbers for step in life.steps if step.where == "decode0/dp0")


def test_of_a_batch_only_the_watched_requests_pages_are_seen(recording):
    """Whose pages grow in one step with those of others is not taken for their victim."""
    events = recording.table("events").to_pylist()
    touched = {row["request_id"] for row in events if row["rule"] is not None}
    healthy = [name for name in (f"q{at}" for at in range(30)) if name not in touched]
    for name in healthy[-3:]:
        life, _ = watched(recording, name)
        assert life.blame is None, life.headline
        took = [step for step in life.steps if step.what.startswith("takes")]
        assert sum(step.pages for step in took if step.where == "decode0/dp0") == 14


def test_many_hits_are_fetched_in_pieces(recording, monkeypatch):
    whole = page_of(recording, "prefill0/dp0", 1)[1].pages
    monkeypatch.setattr("replay.watch.notebook._PENDING_MAX", 2)
    assert page_of(recording, "prefill0/dp0", 1)[1].pages == whole
    assert len(whole) > 4
