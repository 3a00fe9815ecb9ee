"""What holds of every life, on random schedules with and without known bugs of engines."""

import os

import pyarrow.parquet as pq
import pytest
from life_helpers import page_of, record_schedule, told, watched

from replay.explain.life import first_departure
from replay.recording.owner_codes import CACHE, FREE

DEFECTS = (
    (),
    ("completion-never-times-out",),
    ("second-acknowledgement-frees-again",),
    ("abort-frees-under-the-writer",),
    ("failed-transfer-not-released", "abort-in-waiting-leaks"),
    ("room-reused-while-open", "metadata-slot-reused"),
    ("source-freed-before-it-is-read",),
    ("room-status-stays", "rejected-request-leaks"),
)
SEEDS = range(int(os.environ.get("KVREPLAY_LIFE_SEEDS", "10")))

_COLUMN_OF_STATE = {
    "transfer": "preallocated_us",
    "prefilling": "prefill_start_us",
    "moving": "transfer_start_us",
    "landed": "landed_us",
    "running": "running_us",
}


def table(recording, name):
    return pq.read_table(recording.directory / f"{name}.parquet").to_pylist()


@pytest.fixture(params=SEEDS)
def recording(request, tmp_path):
    seed = request.param
    return record_schedule(tmp_path, seed, DEFECTS[seed % len(DEFECTS)])


def check_steps(life, rows, stays, events):
    """Order, and every row of the tables exactly once."""
    keys = [(step.time_us, step.order) for step in life.steps]
    assert keys == sorted(keys)
    assert life.blame == first_departure(life.steps)
    own = [step for step in life.steps if step.request_id is None]
    delivered = sorted(
        (step.event, step.copy) for step in own if step.kind in ("delivered", "aimed")
    )
    assert delivered == sorted((row["event"], row["copy"]) for row in events)
    sent = sorted(step.event for step in own if step.kind == "sent")
    assert sent == sorted({row["event"] for row in events if row["prefill_tp_rank"] >= 0})
    gaps = sorted((step.where, step.audit, step.pages) for step in own if step.kind == "gap")
    assert gaps == sorted(
        each
        for stay in stays
        for each in (
            (stay["pool"], stay["opened_audit"], stay["pages"]),
            (stay["pool"], stay["closed_audit"], -stay["pages"]),
        )
        if each[1] is not None
    )
    assert own[0].time_us == rows["arrival_us"]


def test_every_life_is_in_order_and_has_every_row_once(recording):
    stays, events = table(recording, "owners"), table(recording, "events")
    for row in table(recording, "requests"):
        name = row["request_id"]
        mine = [stay for stay in stays if stay["request_id"] == name]
        life = told(recording, name)
        check_steps(life, row, mine, [each for each in events if each["request_id"] == name])
        is_healthy = row["decode_state"] == "finished" and row["prefill_state"] == "done"
        assert life.blame is not None or is_healthy, life.headline


def test_what_is_watched_is_what_was_recorded(recording):
    requests = table(recording, "requests")
    stays, events = table(recording, "owners"), table(recording, "events")
    guilty = [row for row in requests if any(s["request_id"] == row["request_id"] for s in stays)]
    for row in (guilty + requests)[:2]:
        name = row["request_id"]
        life, sighted = watched(recording, name)
        mine = [stay for stay in stays if stay["request_id"] == name]
        check_steps(life, row, mine, [each for each in events if each["request_id"] == name])
        first = {}
        for seen in sighted.states:
            first.setdefault(seen.state, seen.time_us)
        for state, column in _COLUMN_OF_STATE.items():
            assert first.get(state, -1) == row[column], state
        for side in ("prefill_state", "decode_state"):
            if row[side] in ("done", "dropped", "finished", "aborted", "failed", "lost"):
                assert row[side] in first or row["arrival_us"] == row["ended_us"]
        if row["ended_us"] >= 0:
            assert first[row["decode_state"]] == row["ended_us"]
        for stay in mine:
            if stay["share"] in ("stalled", "departed"):
                assert stay["pages"] == held_at(sighted, stay), stay


def held_at(sighted, stay):
    """Pages that the request held in the pool of a stay when it opened."""
    held = 0
    for seen in sighted.pages:
        if seen.pool == stay["pool"] and seen.time_us <= stay["opened_us"]:
            own = sum(by == sighted.code for by in seen.by)
            held += {"take": own, "release": -own, "cache": -own}.get(seen.action, 0)
    return held


def test_the_owners_of_a_page_take_turns(recording):
    """Of a page that nobody wronged: given out, perhaps handed to the cache, given back, again."""
    pools = {row["decode_pool"] for row in table(recording, "requests")}
    pools |= {row["prefill_pool"] for row in table(recording, "requests")}
    for pool in sorted(pools)[:2]:
        life, sighted = page_of(recording, pool, 1)
        if any(step.departs for step in life.steps if step.kind in ("pages", "bytes", "read")):
            continue
        holder = FREE
        for seen in sighted.pages:
            assert seen.pages == (1,)
            assert seen.holders == (holder,)
            if seen.action == "take":
                assert holder == FREE
                holder = seen.by[0]
            elif seen.action in ("release", "cache", "evict"):
                assert holder == seen.by[0]
                holder = CACHE if seen.action == "cache" else FREE
        keys = [(step.time_us, step.order, step.sequence) for step in life.steps]
        assert keys == sorted(keys)
