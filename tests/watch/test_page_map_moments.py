"""Maps of many moments of a replay, not only of its worst gap; and which gap is the worst."""

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from fuzz_cases import make_case
from hypothesis import given
from hypothesis import strategies as st
from test_page_map import releasing_again

from faults.rule import FaultPlan
from replay.recording.kinds import ShareKind
from replay.run.replay_once import ReplayRequest, replay
from replay.watch import worst_gap as widest_gap
from replay.watch.base import Observer
from replay.watch.page_map import take_snapshot
from replay.watch.worst_gap import PoolGap, WidestGap
from traces.dataset import open_trace
from traces.writer import TraceWriter

LEAKS = (ShareKind.STALLED, ShareKind.DEPARTED, ShareKind.CACHE_HELD)


class Looker(Observer):
    """Takes a snapshot at every audit, and has nobody change it afterwards."""

    def __init__(self, looks):
        self.looks = looks
        self.requests = {}

    def request_arrived(self, request):
        self.requests[request.ordinal] = request

    def accounting_changed(self, rank, iterations):
        snapshot = take_snapshot(rank, 0, 0, self.requests)
        columns = plain(snapshot)
        self.looks.append((snapshot, columns))
        assert_adds_up(rank, columns)


def plain(snapshot):
    return [list(column) for column in snapshot.to_columns()]


def assert_adds_up(rank, columns):
    """The map beside what the allocator, the cache and the schedulers' books count."""
    pool, account = rank.pool, rank.pool.account
    evictable = getattr(getattr(rank, "cache", None), "evictable_pages", 0)
    protected = getattr(getattr(rank, "cache", None), "protected_pages", 0)
    cached = evictable + protected - account.cache_held_pages
    _, _, _, pages, states, _, _, listed, holders = columns
    assert sum(pages) == pool.total_pages
    assert sum(a * b for a, b in zip(pages, listed, strict=True)) == pool.available_pages
    in_gap = sum(share.pages for share in account.shares() if share.kind in LEAKS)
    held = account.live_pages + account.transfer_pages + cached + in_gap
    assert sum(a * b for a, b in zip(pages, holders, strict=True)) == held
    if account.over_freed_pages:
        return
    counted = Counter()
    for state, count in zip(states, pages, strict=True):
        counted[state] += count
    assert counted["running"] == account.live_pages
    assert counted["transfer"] == account.transfer_pages
    assert counted["evictable"] + counted["protected"] == cached
    assert counted["stalled"] + counted["departed"] + counted["cache-held"] == in_gap


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("number", [7, 12, 26, 32, 61, 90])
def test_the_map_of_any_moment_adds_up_and_stays(number, again):
    case = make_case(number)
    case = releasing_again(case) if again else case
    looks = []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "trace.parquet"
        with TraceWriter(path, source="test", block_size=case.block_size) as writer:
            for row in case.requests:
                writer.write(row)
        request = ReplayRequest(
            trace=open_trace(path),
            profile=case.profile,
            plan=FaultPlan(case.rules),
            options=case.options,
            device="cpu",
        )
        replay(request, observers=[Looker(looks)])
        assert looks
        for snapshot, columns in looks:
            assert plain(snapshot) == columns


class Taken:
    """Stands for a snapshot."""

    def __init__(self, rank, audit, gap_pages, *_):
        self.pool, self.audit, self.gap_pages = rank.name, audit, gap_pages
        self.owner, self.cost_pages = None, 1

    def to_columns(self):
        return self


class Rank:
    def __init__(self, name):
        self.name = name


class Recorder:
    found = None

    def pages(self, found):
        self.found = found


AUDIT = st.tuples(st.integers(0, 2), st.integers(-4, 4), st.booleans(), st.integers(0, 1))


@given(audits=st.lists(AUDIT, max_size=40), could_close=st.tuples(*[st.booleans()] * 3))
def test_the_audit_is_that_of_the_verdict(audits, could_close):
    """Against the rule of `replay.verdict.judge.worst_episode` and `GapSpan`, said once more."""
    found, finish = follow(audits, could_close)
    expected = finish()
    if expected is None:
        assert found is None
    else:
        assert (found.pool, found.audit) == expected


@given(audits=st.lists(AUDIT, max_size=40))
def test_when_nothing_may_be_copied_any_more_the_end_is_shown(audits):
    """With nothing left to copy, an open gap as wide as ever is still shown, from its end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(widest_gap, "COPIED_PAGES_MAX", 0)
        found, finish = follow(audits, (False,) * 3)
        expected = finish()
    last = {pool: gap for pool, gap, _, _ in audits}
    assert (found is None) == (expected is None)
    if expected is not None and last[int(expected[0])]:
        assert found.pool == expected[0]
        worst = audits[expected[1]][1]
        assert abs(found.gap_pages) >= min(abs(worst), abs(last[int(expected[0])]))


def follow(audits, could_close):
    """What is shown, and a function that says what should be."""
    recorder, widest = Recorder(), WidestGap()
    pools = {each: PoolGap(Rank(str(each)), {}, widest) for each in range(3)}
    last, spans, now_us, opened = {}, [], 0, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(widest_gap, "take_snapshot", Taken)
        for number, (pool, gap, quiet, later_us) in enumerate(audits):
            now_us += later_us
            if gap or pools[pool].is_open:
                pools[pool].see(number, now_us, gap, quiet)
                last[pool] = (number, gap)
            if not gap:
                opened.pop(pool, None)
            elif pool in opened:
                opened[pool]["audits"].append((number, gap, quiet))
            else:
                opened[pool] = {"pool": pool, "us": now_us, "audits": [(number, gap, quiet)]}
                spans.append(opened[pool])
        for each, gap_of in pools.items():
            gap_of.end(*last.get(each, (-1, 0)), could_close[each])
        widest.write(recorder)

    def finish():
        spans.sort(key=lambda span: (span["us"], str(span["pool"]), span["audits"][0][0]))
        best = None
        for span in spans:
            quiet = [audit for audit in span["audits"] if audit[2]]
            number, gap, _ = max(quiet or span["audits"], key=lambda audit: abs(audit[1]))
            is_open = opened.get(span["pool"]) is span
            rank = (is_open and not could_close[span["pool"]], is_open, abs(gap))
            if best is None or rank > best[0]:
                best = (rank, (str(span["pool"]), number))
        return None if best is None else best[1]

    return recorder.found, finish
