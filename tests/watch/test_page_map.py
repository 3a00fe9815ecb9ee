"""The map of the pool at its worst gap: every page is somewhere, and the sums are the audit's."""

import dataclasses
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from fuzz_cases import make_case
from hypothesis import assume, given
from hypothesis import strategies as st
from page_map_sums import assert_map_adds_up, assert_map_is_of_the_mismatch, read_map
from schedule_runs import run_schedule

from faults.rule import FaultPlan, FaultRule
from replay.errors import InvariantError
from replay.pool.account import GapShare
from replay.pool.device_arrays import DeviceArrays
from replay.profiles.catalogue import find_profile
from replay.profiles.defects import all_defects
from replay.recording.fingerprint import hash_recording
from replay.recording.kinds import ShareKind
from replay.recording.owner_codes import CACHE, FIRST_OWNER, FREE
from replay.recording.reader import Recording
from replay.run.replay_once import ReplayRequest, replay
from replay.run.session import SessionOptions
from replay.watch import page_map
from replay.watch import worst_gap as widest_gap
from traces.dataset import open_trace
from traces.writer import TraceWriter

TWICE = FaultRule(name="twice", fault="duplicate", direction="prefill", probability=0.4)
LOST = FaultRule(name="lost", fault="drop", probability=0.1)
#: A case in which pages are released twice, held by two requests, and listed while they are held.
SHARING_CASE = 32


def replay_case(case, directory, **request):
    trace = directory / "trace.parquet"
    with TraceWriter(trace, source="test", block_size=case.block_size) as writer:
        for row in case.requests:
            writer.write(row)
    options = {"plan": FaultPlan(case.rules), "options": case.options, "device": "cpu"} | request
    summary = replay(
        ReplayRequest(trace=open_trace(trace), profile=case.profile, **options), directory / "out"
    )
    return Recording.open(directory / "out"), summary


def releasing_again(case):
    """The same with an engine without a guard against a second acknowledgement."""
    cache = "chunk" if case.block_size is None else case.profile.prefill_cache
    profile = dataclasses.replace(
        case.profile, duplicate_acknowledgement="free-again", prefill_cache=cache
    )
    return dataclasses.replace(case, profile=profile, rules=(TWICE, *case.rules))


def assert_right(recording, summary):
    assert_map_is_of_the_mismatch(recording, summary)
    return assert_map_adds_up(recording)


@pytest.mark.slow
@given(number=st.integers(0, 10_000), again=st.booleans())
def test_any_map_adds_up_to_its_audit(tmp_path_factory, number, again):
    """Any faults on any engine: acquired, stalled, dropped, cached, retracted, released again."""
    case = make_case(number)
    case = releasing_again(case) if again else case
    try:
        recording, summary = replay_case(case, tmp_path_factory.mktemp("case"))
    except InvariantError:
        # Cached pages that are released again can upset the books themselves: no recording then.
        assume(not again)
        raise
    assert_right(recording, summary)


@pytest.mark.slow
@pytest.mark.parametrize("defect", sorted(all_defects()))
def test_the_map_of_any_bug_adds_up(defect, tmp_path):
    for seed in range(3):
        summary = run_schedule(seed, (defect,), keep=tmp_path / f"{seed}")
        assert_right(Recording.open(tmp_path / f"{seed}"), summary)


def test_pages_that_are_counted_twice_are_found(tmp_path):
    recording, summary = replay_case(releasing_again(make_case(SHARING_CASE)), tmp_path)
    states = assert_right(recording, summary)
    assert states["over-freed"] > 0
    assert states["double-owned"] > 0
    rows = read_map(recording)
    excess = sum(row["pages"] * (row["listed"] + row["holders"] - 1) for row in rows)
    over_freed = [row for row in recording.table("owners").to_pylist() if row["pages"] < 0]
    assert 0 < excess <= -sum(row["pages"] for row in over_freed)
    doubly = [row for row in rows if row["state"] == "double-owned"]
    assert all(row["holders"] > 1 and row["listed"] == 0 for row in doubly)
    named = {row["other_request_id"] for row in doubly} | {row["request_id"] for row in doubly}
    assert named & {row.request_id for row in make_case(SHARING_CASE).requests}


def test_tensors_give_the_same_map(tmp_path):
    for name, arrays in {"host": None, "tensors": DeviceArrays(torch.device("cpu"))}.items():
        (tmp_path / name).mkdir()
        replay_case(releasing_again(make_case(SHARING_CASE)), tmp_path / name, arrays=arrays)
    maps = [
        (tmp_path / name / "out" / "pages.parquet").read_bytes() for name in ("host", "tensors")
    ]
    assert maps[0] == maps[1]


class ListAllocator:
    """A user's own: first in, first out."""

    def __init__(self, total_pages, page_size):
        self.pages = list(range(1, total_pages + 1))

    @property
    def available_pages(self):
        return len(self.pages)

    def alloc(self, count):
        if count > len(self.pages):
            return None
        taken, self.pages = self.pages[:count], self.pages[count:]
        return taken

    def free(self, pages):
        self.pages += pages


@pytest.mark.parametrize("number", [1, 2, SHARING_CASE])
def test_the_map_of_a_users_own_allocator_adds_up(tmp_path, number):
    case = releasing_again(make_case(number))
    assert_right(*replay_case(case, tmp_path, make_allocator=ListAllocator))


def many_drops(tmp_path, make_trace):
    """Requests that are lost one after the other, so that the gap grows all the time."""
    request = ReplayRequest(
        trace=open_trace(make_trace(requests=300, rate_per_s=40.0)),
        profile=find_profile("sglang-0.4.6.post4"),
        plan=FaultPlan((LOST,)),
        options=SessionOptions(seed=1),
        device="cpu",
    )
    summary = replay(request, tmp_path / "out")
    return Recording.open(tmp_path / "out"), summary


def test_the_pages_of_the_gap_are_named_and_no_others(tmp_path, make_trace):
    recording, summary = many_drops(tmp_path, make_trace)
    assert_right(recording, summary)
    named = [row for row in read_map(recording) if row["request_id"] is not None]
    assert {row["state"] for row in named} == {"stalled"}
    assert sum(row["pages"] for row in named) == summary["mismatch"]["pages"]
    requests = set(recording.table("requests")["request_id"].to_pylist())
    assert {row["request_id"] for row in named} <= requests


def count_snapshots(monkeypatch):
    taken = []

    def take(*words):
        taken.append(page_map.take_snapshot(*words))
        return taken[-1]

    monkeypatch.setattr(widest_gap, "take_snapshot", take)
    return taken


def test_what_is_copied_is_bounded(tmp_path, make_trace, monkeypatch):
    taken = count_snapshots(monkeypatch)
    many_drops(tmp_path, make_trace)
    before, taken[:] = len(taken), []
    monkeypatch.setattr(widest_gap, "COPIED_PAGES_MAX", 0)
    recording, summary = many_drops(tmp_path, make_trace)
    assert len(taken) < before
    gaps = [abs(snapshot.gap_pages) for snapshot in taken]
    # The last one is that of the end.
    assert all(wider >= 4 * gap for gap, wider in pairwise(gaps[:-1]))
    # The pool is the right one, and the map is honest about which audit it is of.
    assert_map_adds_up(recording)
    assert {row["pool"] for row in read_map(recording)} == {summary["mismatch"]["pool"]}


def test_a_snapshot_reuses_the_memory_of_the_one_before(tmp_path, make_trace, monkeypatch):
    taken = count_snapshots(monkeypatch)
    many_drops(tmp_path, make_trace)
    buffers = {id(snapshot.owner) for snapshot in taken}
    assert len(taken) > 2 * len(buffers)


def test_a_healthy_replay_takes_none(tmp_path, make_trace, monkeypatch):
    taken = count_snapshots(monkeypatch)
    profile = find_profile("hardened")
    trace = open_trace(make_trace())
    request = ReplayRequest(
        trace=trace, profile=profile, plan=FaultPlan(), options=SessionOptions(), device="cpu"
    )
    replay(request, tmp_path / "out")
    assert taken == []
    assert Recording.open(tmp_path / "out").table("pages").num_rows == 0


def test_a_recording_without_a_map_has_the_same_fingerprint(tmp_path):
    recording, summary = replay_case(make_case(2), tmp_path)
    (recording.directory / "pages.parquet").unlink()
    assert hash_recording(recording.directory) == summary["recording_sha256"]
    assert not recording.has("pages")


PAGES = 40
CODES = st.integers(0, 5)


@given(
    owner=st.lists(CODES, min_size=PAGES, max_size=PAGES),
    moving=st.sets(st.integers(0, 3)),
    shares=st.dictionaries(
        st.integers(0, 3), st.sampled_from([ShareKind.STALLED, ShareKind.DEPARTED])
    ),
    locked=st.sets(st.integers(1, PAGES)),
    free_list=st.none() | st.lists(st.integers(1, PAGES), max_size=60),
    rows=st.dictionaries(st.integers(-1, 3), st.lists(st.integers(1, PAGES), max_size=20)),
)
def test_stretches_say_of_every_page_what_it_is(owner, moving, shares, locked, free_list, rows):
    """Against the same said page by page."""
    snapshot = page_map.Snapshot(
        pool="p",
        audit=7,
        gap_pages=1,
        owner=np.array([FREE, *owner], np.int32),
        in_transfer=tuple(moving),
        shares=tuple(GapShare(ordinal, kind, 1) for ordinal, kind in shares.items()),
        names={ordinal: f"r{ordinal}" for ordinal in range(4)},
        locked=[np.array(sorted(locked), np.int64)],
        cache_held=[],
        free_list=None if free_list is None else np.array(free_list, np.int64),
        rows=None
        if free_list is None
        else [(ordinal, np.array(ids, np.int64)) for ordinal, ids in rows.items()],
    )
    told = {}
    columns = snapshot.to_columns()
    for pool, audit, first, pages, state, name, _, listed, holders in zip(*columns, strict=True):
        assert (pool, audit) == ("p", 7)
        for page in range(first, first + pages):
            assert page not in told
            told[page] = (state, name, listed, holders)
    assert sorted(told) == list(range(1, PAGES + 1))
    for page, code in enumerate(owner, start=1):
        state, name, listed, holders = told[page]
        entries = Counter()
        if free_list is not None:
            entries = Counter({each + FIRST_OWNER: ids.count(page) for each, ids in rows.items()})
        own = max(entries[code], 1) if code != FREE else 0
        assert holders == own + sum(count for each, count in entries.items() if each != code)
        expected_listed = int(code == FREE) if free_list is None else free_list.count(page)
        assert listed == expected_listed
        assert (state, name) == expected_state(page, code, told[page], moving, shares, locked, rows)


def expected_state(page, code, told, moving, shares, locked, rows):
    _, name, listed, holders = told
    ordinal = code - FIRST_OWNER
    if listed + holders > 1:
        others = {f"r{each}" for each, ids in rows.items() if page in ids and each >= 0}
        if code >= FIRST_OWNER:
            assert name == f"r{ordinal}"
        else:
            assert name is None or (code == FREE and name in others)
        return ("over-freed" if listed else "double-owned"), name
    if code in (FREE, CACHE):
        return ("free" if code == FREE else "protected" if page in locked else "evictable"), None
    if ordinal in shares:
        return shares[ordinal].value, f"r{ordinal}"
    return ("transfer" if ordinal in moving else "running"), None
