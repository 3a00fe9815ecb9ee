"""Lanes hold for any request: bars in order, every delivery drawn once, nothing that runs as script."""

import itertools
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.recording.events import EventFact
from replay.recording.kinds import Outcome
from replay.recording.requests import RequestRow
from reports.parts.lanes.drawing import ARROWS_MAX, draw, make_scale
from reports.parts.lanes.lane import bars_of, make_lanes_of
from reports.parts.lanes.part import show_lanes

END_US = 900_000_000
TIMES = [
    "prealloc_us",
    "preallocated_us",
    "prefill_waiting_us",
    "prefill_start_us",
    "in_flight_us",
    "transfer_start_us",
    "landed_us",
    "consumed_us",
    "running_us",
    "gave_up_us",
    "ended_us",
    "prefill_ended_us",
]
SIZES = {
    "cycle": 0, "bootstrap_room": 1, "input_tokens": 9, "output_tokens": 9, "prompt_pages": 3,
    "prefix_pages": 0, "prefill_pool": "prefill0/dp0", "decode_pool": "decode0/dp1",
}  # fmt: skip
moments = st.one_of(st.just(-1), st.integers(0, END_US))
texts = st.one_of(
    st.text(max_size=40), st.just("</text><script>x()</script>\n'\"&"), st.just("q" * 10_000)
)


@st.composite
def rows(draw_):
    """Rows of requests.parquet whose moments may be anything, in no order at all."""
    return RequestRow(
        **SIZES,
        request_id=draw_(texts),
        arrival_us=draw_(st.integers(0, END_US)),
        prefill_state=draw_(
            st.sampled_from(["bootstrap", "running", "inflight", "done", "dropped"])
        ),
        decode_state=draw_(st.sampled_from(["absent", "prealloc", "transfer", "finished", "lost"])),
        **{name: draw_(moments) for name in TIMES},
    )


@st.composite
def events(draw_):
    """Rows of events.parquet: faulted or not, copies, strikes, lost ones."""
    rank = draw_(st.integers(-1, 3))
    outcome = draw_(st.sampled_from(Outcome))
    fault = draw_(
        st.sampled_from(
            [None, "drop", "delay", "misroute", "fail", "early", "delay + stale", "<b>"]
        )
    )
    came = None if outcome in (Outcome.LOST, Outcome.UNDELIVERED) else draw_(st.integers(0, END_US))
    return EventFact(
        event=draw_(st.integers(0, 30)), copy=draw_(st.integers(0, 3)), request_id="r",
        direction=draw_(st.sampled_from(["decode", "prefill"])), pool="decode0/dp1",
        bootstrap_room=1, prefill_tp_rank=rank, decode_tp_rank=rank, pages=3,
        sent_us=draw_(st.integers(0, END_US)), due_us=draw_(st.integers(0, END_US)),
        delivered_us=came, failed=draw_(st.booleans()), fault=fault,
        rule=None if fault is None else draw_(texts), outcome=outcome,
        detail=draw_(st.none() | st.just("it was gone")),
        observed=None if fault is None else draw_(st.booleans()),
    )  # fmt: skip


stays = st.builds(
    lambda pool, pages, opened, length, share, can: {
        "pool": pool, "pages": pages, "share": share, "opened_us": opened,
        "closed_audit": None if length is None else 7,
        "closed_us": None if length is None else opened + length,
        "can_progress": can, "ended_by": None,
    },
    st.sampled_from(["prefill0/dp0", "decode0/dp1"]), st.integers(-9, 9), st.integers(0, END_US),
    st.one_of(st.none(), st.integers(0, END_US)),
    st.sampled_from(["stalled", "departed", "over-freed", "cache-held"]), st.booleans(),
)  # fmt: skip


@given(rows())
def test_bars_follow_each_other_and_stay_within_the_request(row):
    bars = bars_of(row, END_US)
    times = {getattr(row, name) for name in TIMES}
    latest = max(END_US, *times, row.arrival_us)
    for side in ("prefill", "decode"):
        mine = [bar for bar in bars if bar.side == side]
        for bar in mine:
            assert row.arrival_us <= bar.start_us or bar.start_us in times
            assert bar.start_us < bar.end_us <= latest
        for before, after in itertools.pairwise(mine):
            assert before.end_us == after.start_us
            assert not before.is_open
        assert len({bar.state for bar in mine}) == len(mine)
        ended = row.ended_us if side == "decode" else row.prefill_ended_us
        if mine and ended >= 0 and not (side == "prefill" and mine[-1].is_open):
            assert mine[-1].end_us == ended


@given(rows(), st.lists(events(), max_size=40), st.lists(stays, max_size=3))
def test_every_delivery_is_drawn_once_and_the_drawing_is_sound(row, facts, gaps):
    lanes = make_lanes_of(row, facts, gaps, END_US)
    drawn = [delivery for arrow in lanes.arrows for delivery in arrow.deliveries]
    assert sorted(drawn) == sorted((fact.event, fact.copy) for fact in facts)
    assert [arrow.number for arrow in lanes.arrows] == list(range(1, len(lanes.arrows) + 1))
    picture = draw(lanes, "x-")
    assert picture.arrows == min(len(lanes.arrows), ARROWS_MAX)
    words = [
        each.text or ""
        for each in ElementTree.fromstring(picture.svg).iter()
        if each.tag.endswith("text")
    ]
    for arrow in lanes.arrows if len(lanes.arrows) <= ARROWS_MAX else ():
        mine = [word for word in words if re.match(rf"{arrow.number}( |$)", word)]
        assert len(mine) == 1
        if arrow.fault is not None:
            assert arrow.fault[:4] in mine[0]
    height = float(re.search(r'viewBox="0 0 \d+ (\d+)"', picture.svg).group(1))
    for y in re.findall(r' y="([\d.]+)"', picture.svg):
        assert 0 <= float(y) <= height


@given(st.sets(st.integers(0, END_US), min_size=2, max_size=30))
def test_the_scale_keeps_order_and_gives_every_stretch_room(times):
    scale = make_scale(times)
    ordered = sorted(times)
    places = [scale.place(at) for at in ordered]
    assert all(after - before >= 16 for before, after in itertools.pairwise(places))
    lengths = sorted(
        (after - before, scale.place(after) - scale.place(before))
        for before, after in itertools.pairwise(ordered)
    )
    # A longer stretch is never drawn shorter (but for rounding).
    for (_, shorter), (_, longer) in itertools.pairwise(lengths):
        assert longer >= shorter - 0.2
    middle = (ordered[0] + ordered[1]) // 2
    assert places[0] <= scale.place(middle) <= places[1]
    assert scale.place(-5) == 0
    assert scale.place(2 * END_US) == scale.length


def row_of(**times):
    known = {
        "prefill_state": "bootstrap",
        "decode_state": "prealloc",
        "arrival_us": 0,
        "prealloc_us": 0,
    }
    return RequestRow(request_id="r", **(SIZES | dict.fromkeys(TIMES, -1) | known | times))


def states(row, side):
    return [bar.state for bar in bars_of(row, END_US) if bar.side == side]


def test_a_request_that_never_got_anywhere_waits_to_the_end():
    bars = bars_of(row_of(), END_US)
    assert [(bar.state, bar.end_us, bar.is_open) for bar in bars] == [
        ("bootstrap", END_US, True),
        ("prealloc", END_US, True),
    ]


def test_a_request_refused_at_once_has_no_bars_and_still_a_picture():
    row = row_of(ended_us=0, prefill_ended_us=0, prefill_state="dropped", decode_state="aborted")
    assert bars_of(row, END_US) == ()
    part = show_lanes([make_lanes_of(row, [], [], END_US)], "a", "t", 1)
    assert "prefill: nothing recorded" in part.lanes[0].label
    assert part.lanes[0].headline.endswith("prefill0/dp0 dropped, decode0/dp1 aborted")


def test_a_healthy_life_passes_every_state_in_order():
    row = row_of(
        preallocated_us=1, prefill_waiting_us=2, prefill_start_us=3, in_flight_us=6, transfer_start_us=5, landed_us=8, consumed_us=9,
        running_us=11, ended_us=20, prefill_ended_us=12, prefill_state="done", decode_state="finished",
    )  # fmt: skip
    assert states(row, "decode") == [
        "prealloc",
        "transfer",
        "moving",
        "landed",
        "waiting",
        "running",
    ]
    assert states(row, "prefill") == ["bootstrap", "prefill-waiting", "prefilling", "in-flight"]


def test_where_decode_allocates_late_it_does_not_know_of_a_request_at_first():
    row = row_of(prealloc_us=7, preallocated_us=8, prefill_start_us=3, in_flight_us=6)
    assert states(row, "decode") == ["absent", "prealloc", "transfer"]
    assert states(row_of(prealloc_us=-1), "decode") == ["absent"]


def test_a_completion_believed_early_is_not_taken_back_when_the_bytes_land():
    row = row_of(preallocated_us=1, transfer_start_us=5, consumed_us=6, running_us=7, landed_us=9)
    assert states(row, "decode") == ["prealloc", "transfer", "moving", "waiting", "running"]


def test_given_up_pages_are_held_until_they_are_released():
    row = row_of(preallocated_us=1, transfer_start_us=5, gave_up_us=6, landed_us=9, ended_us=12,
                 decode_state="aborted")  # fmt: skip
    last = [bar for bar in bars_of(row, END_US) if bar.side == "decode"][-1]
    assert (last.state, last.start_us, last.end_us, last.is_open) == ("deferred", 6, 12, False)


def event(**changes):
    fact = EventFact(0, 0, "r", "decode", "decode0/dp1", 1, 0, 0, 3, 10, 20, 20, False, None, None, Outcome.ACCEPTED, None, None)  # fmt: skip
    return fact._replace(**changes)


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({}, "arrives"),
        ({"delivered_us": None, "outcome": Outcome.LOST, "fault": "drop", "rule": "a"}, "lost"),
        ({"delivered_us": None, "outcome": Outcome.LOST, "fault": "partial", "rule": "a"}, "lost"),
        ({"delivered_us": 90, "fault": "delay", "rule": "a"}, "late"),
        # A delay of nothing holds nothing back.
        ({"delivered_us": 20, "fault": "delay", "rule": "a"}, "arrives"),
        ({"delivered_us": None, "outcome": Outcome.UNDELIVERED, "fault": "delay", "rule": "a"}, "never"),
        ({"copy": 1, "delivered_us": 30, "fault": "duplicate", "rule": "a"}, "again"),
        ({"copy": 1, "delivered_us": 30, "fault": "stale", "rule": "a"}, "again"),
        ({"delivered_us": 12, "fault": "early", "rule": "a"}, "early"),
        ({"fault": "misroute", "rule": "a"}, "astray"),
        ({"fault": "delay + misroute", "rule": "a + b", "delivered_us": 90}, "astray"),
        ({"failed": True, "fault": "fail", "rule": "a"}, "failed"),
        ({"prefill_tp_rank": -1, "decode_tp_rank": -1, "fault": "abort", "rule": "a"}, "strike"),
    ],
)  # fmt: skip
def test_what_became_of_an_event_is_seen_in_its_arrow(changes, shape):
    (arrow,) = make_lanes_of(row_of(), [event(**changes)], [], END_US).arrows
    assert arrow.shape == shape
    assert (arrow.fault or "") in arrow.word


def test_ranks_that_were_told_alike_share_an_arrow_and_the_odd_one_does_not():
    same = [event(event=each, prefill_tp_rank=each) for each in range(7)]
    odd = event(
        event=7, prefill_tp_rank=7, delivered_us=None, outcome=Outcome.LOST, fault="drop", rule="a"
    )
    lanes = make_lanes_of(row_of(), [*same, odd], [], END_US)
    assert [len(arrow.deliveries) for arrow in lanes.arrows] == [7, 1]
    assert lanes.arrows[0].word == "1 \N{MULTIPLICATION SIGN}7"


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": Outcome.IGNORED, "detail": "already counted"},
        {"failed": True},
        {"fault": "fail", "rule": "a"},
        {"direction": "prefill"},
        {"copy": 1, "fault": "duplicate", "rule": "a"},
        {"prefill_tp_rank": -1, "fault": "abort", "rule": "a"},
    ],
)
def test_what_was_told_at_the_same_time_but_otherwise_has_its_own_arrow(changes):
    both = [event(), event(event=1, **changes)]
    lanes = make_lanes_of(row_of(), both, [], END_US)
    assert [arrow.deliveries for arrow in lanes.arrows] == [((0, 0),), ((1, 0 + changes.get("copy", 0)),)]  # fmt: skip


def test_words_that_hang_below_the_last_moment_are_still_in_the_picture():
    row = row_of(ended_us=30, prefill_ended_us=30, prefill_state="done", decode_state="failed")
    many = [event(event=each, sent_us=25, due_us=30, delivered_us=30, fault="fail", rule=f"{each}")
            for each in range(ARROWS_MAX)]  # fmt: skip
    svg = draw(make_lanes_of(row, many, [], 30), "x-").svg
    height = float(re.search(r'viewBox="0 0 \d+ (\d+)"', svg).group(1))
    assert max(float(y) for y in re.findall(r'class="note[^>]* y="([\d.]+)"', svg)) < height - 4


def test_too_many_arrows_are_cut_but_never_the_faulted_ones():
    many = [event(event=each, sent_us=10 + each) for each in range(40)]
    late = event(event=40, sent_us=60, delivered_us=500, fault="delay", rule="a")
    part = show_lanes([make_lanes_of(row_of(), [*many, late], [], END_US)], "a", "t", 1)  # fmt: skip
    (lane,) = part.lanes
    assert lane.left_out.startswith(f"showing {ARROWS_MAX} of 41 distinct events")
    assert "41 delay" in lane.svg
    # The table has them all: sent and delivered each, and the two bars.
    assert lane.table.of == 2 * 41 + 2
