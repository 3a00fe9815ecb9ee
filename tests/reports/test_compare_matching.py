"""Which gap is which: every episode is matched once, and it makes no difference which is looked at first."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.recording.events import EventFact
from replay.recording.kinds import Outcome
from replay.verdict.episodes import Episode, Owner
from reports.compare.matching import match_episodes

POOLS = ("decode0/dp0", "decode0/dp1")


def cause(number):
    return EventFact(
        number,
        0,
        "r",
        "decode",
        POOLS[0],
        0,
        0,
        0,
        1,
        0,
        0,
        None,
        False,
        "drop",
        "x",
        Outcome.LOST,
        None,
        True,
    )


def episode(number=0, pool=POOLS[0], requests=(), causes=(), opened_us=0, closed=False, pages=1):
    owners = tuple(
        Owner(
            pool,
            name,
            "stalled",
            pages,
            1,
            opened_us,
            2 if closed else None,
            False,
            "transfer",
            None,
        )
        for name in requests
    )
    return Episode(
        number=number,
        pool=pool,
        opened_audit=1,
        opened_us=opened_us,
        closed_audit=2 if closed else None,
        closed_us=opened_us + 10 if closed else None,
        widest_audit=1,
        gap_tokens=64 * pages,
        quiet_audit=None,
        quiet_gap_tokens=None,
        last_gap_tokens=0,
        owners=owners,
        kinds={"held" if closed else "stuck": abs(pages)},
        growth=None,
        healed_audit=1,
        causes=tuple(cause(number) for number in causes),
    )


EPISODES = st.lists(
    st.builds(
        episode,
        pool=st.sampled_from(POOLS),
        requests=st.sets(st.sampled_from("abcd"), max_size=3),
        causes=st.sets(st.integers(0, 3), max_size=2),
        opened_us=st.integers(0, 5),
        closed=st.booleans(),
        pages=st.sampled_from((-1, 1, 2)),
    ),
    max_size=8,
).map(lambda found: [_numbered(each, number) for number, each in enumerate(found)])


def _numbered(each, number):
    from dataclasses import replace

    return replace(each, number=number)


def told(matches):
    return Counter(
        (
            None if match.before is None else match.before.number,
            None if match.after is None else match.after.number,
            match.outcome,
        )
        for match in matches
    )


@given(EPISODES, EPISODES, st.booleans())
def test_every_episode_is_in_exactly_one_match(before, after, same_trace):
    matches = match_episodes(before, after, same_trace=same_trace)
    for side, episodes in (("before", before), ("after", after)):
        found = [getattr(match, side) for match in matches]
        assert sorted(each.number for each in found if each is not None) == list(
            range(len(episodes))
        )


@given(EPISODES, EPISODES, st.booleans())
def test_what_is_new_one_way_has_disappeared_the_other_way(before, after, same_trace):
    swap = {"new": "disappeared", "disappeared": "new"}
    forth = told(match_episodes(before, after, same_trace=same_trace))
    back = told(match_episodes(after, before, same_trace=same_trace))
    assert forth == Counter(
        {(one, two, swap.get(outcome, outcome)): n for (two, one, outcome), n in back.items()}
    )


@given(EPISODES, st.booleans())
def test_nothing_changes_between_a_recording_and_itself(episodes, same_trace):
    matches = match_episodes(episodes, episodes, same_trace=same_trace)
    counts = Counter(match.outcome for match in matches)
    assert counts["new"] == counts["disappeared"]
    if not same_trace:
        assert counts.total() == counts["still there"]
    for match in matches:
        # Only what has neither owners nor causes cannot be known again.
        if match.outcome == "new" and same_trace:
            assert not match.after.owners and not match.after.causes


def test_owners_say_which_gap_it_is_before_anything_else():
    before = [episode(0, requests="ab", opened_us=0), episode(1, requests="c", opened_us=50)]
    after = [episode(0, requests="c", opened_us=0), episode(1, requests="bx", opened_us=50)]
    matches = match_episodes(before, after, same_trace=True)
    pairs = {(match.before.number, match.after.number) for match in matches}
    assert pairs == {(0, 1), (1, 0)}


def test_whoever_shares_most_owners_comes_before_whoever_opened_at_the_same_time():
    before = [episode(0, requests="ab", opened_us=0)]
    after = [episode(0, requests="a", opened_us=0), episode(1, requests="ab", opened_us=50)]
    matches = match_episodes(before, after, same_trace=True)
    assert told(matches) == {(0, 1, "still there"): 1, (None, 0, "new"): 1}


def test_where_no_owner_is_left_the_same_event_tells():
    before = [episode(0, requests="a", causes=[7])]
    after = [episode(0, requests="b", causes=[7]), episode(1, requests="c", causes=[8])]
    outcomes = told(match_episodes(before, after, same_trace=True))
    assert outcomes == {(0, 0, "still there"): 1, (None, 1, "new"): 1}


def test_other_traces_are_matched_by_pool_and_kind_in_turn():
    before = [episode(0, opened_us=5), episode(1, opened_us=1), episode(2, POOLS[1])]
    after = [episode(0, opened_us=100), episode(1, closed=True)]
    outcomes = told(match_episodes(before, after, same_trace=False))
    assert outcomes == {
        (1, 0, "still there"): 1,
        (0, None, "disappeared"): 1,
        (2, None, "disappeared"): 1,
        (None, 1, "new"): 1,
    }


@pytest.mark.parametrize(("change", "outcome"), [({"pages": 2}, "changed"), ({}, "still there")])
def test_a_gap_of_another_size_has_changed(change, outcome):
    matches = match_episodes(
        [episode(requests="a")], [episode(requests="a", **change)], same_trace=True
    )
    assert [match.outcome for match in matches] == [outcome]
