"""The timeline's data: fine around episodes and bounded, true to the recording, harmless as text."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from million_audits import make_long_recording
from report_helpers import HOSTILE

from replay.verdict.episodes import worst_episode
from reports.drawings.series import NEVER, Marks, read
from reports.drawings.timeline import make_story
from reports.evidence import load
from reports.outputs.picture import timeline_png, timeline_svg
from reports.parts.timeline.detail import choose_detail
from reports.parts.timeline.live import MARKS_MAX, POINTS_MAX, make_live
from reports.parts.timeline.part import check_charts, make_charts
from traces.text import all_printable


@pytest.fixture(scope="module")
def leak(recordings):
    return load(recordings["leak"])


@pytest.fixture(scope="module")
def leak_charts(leak):
    return make_charts(leak)


@pytest.fixture(scope="module")
def long(recordings, tmp_path_factory):
    """The late recording many times over, hundreds of episodes, and a leak at the end."""
    out = tmp_path_factory.mktemp("long") / "recording"
    return load(make_long_recording(recordings["late"], out, 100_000, recordings["leak"]))


def added_up(differences):
    return np.cumsum(np.array(differences, np.int64))


@pytest.mark.slow
def test_every_series_and_every_phase_is_there(leak, leak_charts):
    document = leak_charts.live.document
    pool = leak.summary["mismatch"]["pool"]
    assert document["pool"] == document["pools"][0]["name"] == pool
    titles = {line[1] for panel in document["charts"][0] for line in panel.get("lines", ())}
    assert {"gap", "available", "running", "in transfer"} <= titles
    caption = leak_charts.figures[0].caption
    for name in ("evictable", "protected"):
        assert (name in titles) != (name in caption)
    dashes = [line[3] for panel in document["charts"][0] for line in panel.get("lines", ())[-4:]]
    assert document["phases"][0][0] == "inject"
    assert len({tuple(dash) for dash in dashes[2:]}) == len(dashes[2:])


def test_a_clean_run_has_its_timeline_too(recordings):
    evidence = load(recordings["clean"])
    charts = make_charts(evidence)
    assert charts.live.document["pool"].startswith("decode")
    assert charts.live.document["episodes"] == []
    assert all(check.passed for check in check_charts(evidence, charts))


def test_a_small_recording_is_drawn_exactly(leak, leak_charts):
    """The page's own data, added up again, is the audits column by column."""
    readings = read(leak.tables["audits"])
    for pool in leak_charts.live.document["pools"]:
        assert pool["full"] == [0, leak_charts.live.end_us]
        for column, (times, values) in pool["series"].items():
            steps = readings.steps(pool["name"], column)
            at = np.searchsorted(added_up(times), steps.time_us, side="right") - 1
            last = np.append(np.diff(steps.time_us) > 0, True)
            assert (added_up(values)[at] == steps.value)[last].all()


@pytest.mark.slow
def test_around_episodes_every_audit_is_drawn_whatever_the_length(long):
    story = make_story(long)
    live = make_live(long, story, 30)
    assert live.columns is not None
    worst = long.worst
    windows = live.detail.windows[worst.pool]
    for audit in (worst.opened_audit, worst.widest_audit):
        time_us = long.tables["audits"]["time_us"][audit].as_py()
        assert ((windows[:, 0] <= time_us) & (time_us <= windows[:, 1])).any()
    checks = check_charts(long, make_charts(long, 30))
    assert [check.passed for check in checks] == [True] * 3
    assert int(checks[1].left.replace(",", "")) > 300


@pytest.mark.parametrize("recordings_of_page", [1, 4, 30])
def test_a_page_has_room_for_so_many_points_whatever_the_run(long, recordings_of_page):
    live = make_live(long, make_story(long), recordings_of_page)
    drawn = sum(len(steps) for pool in live.pools.values() for steps in pool.values())
    assert drawn + len(live.together or ()) <= POINTS_MAX // recordings_of_page
    assert len(live.marks) <= MARKS_MAX


@pytest.mark.slow
def test_the_worst_episodes_come_first_where_points_are_short(long):
    readings = read(long.tables["audits"])
    drawn = {pool: ["gap", "available"] for pool in readings.rows}
    detail = choose_detail(long.episodes, readings, drawn, 400)
    assert 1 <= detail.around < detail.episodes == len(long.episodes)
    opened = long.worst.opened_us
    windows = detail.windows[long.worst.pool]
    assert ((windows[:, 0] <= opened) & (opened <= windows[:, 1])).any()
    caption = make_charts(long, 30).detail
    assert f"of {len(long.episodes):,} episodes, worst first" in caption


def test_keys_go_to_the_episode_of_the_verdict_whatever_is_left_out(long, monkeypatch):
    first = long.episodes[0]
    closed = {"closed_audit": first.widest_audit + 1, "closed_us": first.opened_us + 1}
    loud = replace(first, **closed, gap_tokens=900, quiet_audit=None, quiet_gap_tokens=None)
    brief = replace(loud, number=1, gap_tokens=950, quiet_audit=first.widest_audit)
    episodes = (loud, replace(brief, quiet_gap_tokens=10))
    evidence = replace(long, episodes=episodes)
    monkeypatch.setattr("reports.parts.timeline.live.EPISODES_MAX", 1)
    live = make_live(evidence, make_story(long), 1)
    assert live.episodes == (worst_episode(episodes),) == (loud,)


def test_what_the_charts_draw_is_checked(leak, leak_charts):
    """A point, a value or a mark that is not the recording's fails the check made for it."""

    def spoiled(change):
        document = json.loads(json.dumps(leak_charts.live.document))
        change(document)
        charts = replace(leak_charts, live=replace(leak_charts.live, document=document))
        return [check.passed for check in check_charts(leak, charts)]

    first = lambda document: document["pools"][0]["series"]["gap"]  # noqa: E731
    assert spoiled(lambda document: None) == [True, True, True]
    assert spoiled(lambda document: first(document)[1].__setitem__(1, 10**9))[0] is False
    assert spoiled(lambda document: [each.insert(1, 0) for each in first(document)])[1] is False
    live = replace(leak_charts.live, marks_of=leak_charts.live.marks_of + 1)
    assert [each.passed for each in check_charts(leak, replace(leak_charts, live=live))][2] is False


def test_the_data_cannot_end_its_block(leak, leak_charts):
    document = {**leak_charts.live.document, "pool": f"</script>{HOSTILE}\u2028&amp;"}
    text = str(replace(leak_charts.live, document=document).json)
    assert not set("<>&\u2028\u2029") & set(text)
    # What the page shows of it is printable: the script puts it in as it is.
    assert json.loads(text) == all_printable(document)


@st.composite
def marks(draw):
    count = draw(st.integers(0, 60))
    column = lambda values: np.array(  # noqa: E731
        draw(st.lists(values, min_size=count, max_size=count)), np.int64
    )
    sent = np.sort(column(st.integers(0, 1000)))
    late = column(st.sampled_from([NEVER, 0, 5, 500]))
    delivered = np.where(late == NEVER, NEVER, sent + late)
    here = column(st.integers(0, 1)).astype(bool)
    return Marks(("delay", "drop"), column(st.integers(0, 1)), sent, delivered, here)


@given(marks(), st.integers(1, 20))
def test_thinning_marks_hides_no_kind_of_fault(every, columns):
    """One of each fault, fate and side stays in every column that has any."""

    def kinds(of):
        column = of.sent_us * columns // 1000
        return set(
            zip(
                of.fault.tolist(),
                of.here.tolist(),
                (of.delivered_us == NEVER).tolist(),
                column.tolist(),
                strict=True,
            )
        )

    thin = every.reduce(0, 1000, columns)
    assert kinds(thin) == kinds(every)
    assert len(thin) == len(kinds(every))


@pytest.mark.slow
def test_the_picture_says_what_it_is_of(leak):
    svg = timeline_svg(leak)
    mismatch = leak.summary["mismatch"]
    for words in ("PERSISTENT", f"{mismatch['gap']:,} tokens", mismatch["pool"], "in transfer"):
        assert words in svg
    # One legend, in which a line is told by its dashes as well as by its colour.
    assert svg.count(">in transfer<") == 1
    assert svg.count('stroke-dasharray="6,3"') >= 2
    assert svg == timeline_svg(leak)
    assert timeline_png(leak, 1).startswith(b"\x89PNG")
    hostile = timeline_svg(replace(leak, name=HOSTILE + "x" * 10_000))
    assert HOSTILE not in hostile
    assert "x" * 200 not in hostile
