"""What a page's live charts are drawn from: the same series, as data that the page redraws at any zoom.

    series -> every audit around episodes, an envelope elsewhere -> columns of differences -> JSON

Differences from one point to the next are short, and the page adds them up again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from replay.verdict.episodes import Episode
from reports.drawings.series import Marks, Series
from reports.drawings.step_chart import CROSS, PALETTE, tint
from reports.drawings.steps import NO_WINDOWS, POINTS_PER_COLUMN, Integers, Steps
from reports.drawings.timeline import Story
from reports.evidence import Evidence
from reports.parts.timeline.detail import Detail, choose_detail
from traces.text import all_printable

#: Points of all series on one page, which its recordings share; about ten bytes each.
POINTS_MAX = 120_000
#: Fault marks of one recording, and episodes that its keys jump to.
MARKS_MAX = 3_000
EPISODES_MAX = 2_000
_COLUMNS_MIN, _COLUMNS_MAX = 40, 2_000


@dataclass(frozen=True, slots=True)
class Live:
    """Everything that the page needs to redraw the charts of one recording."""

    end_us: int
    #: Pool -> column -> its series; the pool of the timeline first.
    pools: dict[str, dict[str, Steps]]
    #: The sum of all pools' gaps; None where it is not drawn.
    together: Steps | None
    marks: Marks
    #: Marks before they were thinned.
    marks_of: int
    #: The worst ones, in the order of time.
    episodes: tuple[Episode, ...]
    detail: Detail
    #: Stretches of time that the envelope has; none where every audit is drawn.
    columns: int | None
    document: dict[str, Any]

    @property
    def json(self) -> Markup:
        """The data as it stands in a script block, which nothing in it can end."""
        # Printable also as what the page's script shows of it.
        document = all_printable(self.document)
        text = json.dumps(document, ensure_ascii=True, separators=(",", ":"))
        for letter in "<>&":
            text = text.replace(letter, f"\\u{ord(letter):04x}")
        return Markup(text)


def make_live(evidence: Evidence, story: Story, recordings: int) -> Live:
    """Choose what the live charts show, on a page of so many recordings."""
    whole, readings = story.whole, story.readings
    drawn = {whole.pool: [series.column for series in whole.series]}
    for pool, _ in story.gaps.pools if story.gaps else ():
        drawn.setdefault(pool, ["gap"])
    count = sum(map(len, drawn.values())) + (story.gaps is not None)
    points = POINTS_MAX // max(recordings, 1)
    columns = points // 2 // (POINTS_PER_COLUMN * count)
    columns = min(max(columns, _COLUMNS_MIN), _COLUMNS_MAX)
    detail = choose_detail(evidence.episodes, readings, drawn, points // 2)
    end_us = whole.window.end_us
    everything = {
        pool: {column: readings.steps(pool, column).window(0, end_us) for column in names}
        for pool, names in drawn.items()
    }
    pools = {
        pool: {
            column: steps.around(detail.windows[pool], columns) for column, steps in series.items()
        }
        for pool, series in everything.items()
    }
    exact = {
        pool: all(
            len(series.changes()) == len(pools[pool][column]) for column, series in each.items()
        )
        for pool, each in everything.items()
    }
    together = (
        story.gaps.total.window(0, end_us).around(NO_WINDOWS, columns) if story.gaps else None
    )
    marks = whole.marks
    if len(marks) > MARKS_MAX:
        marks = marks.reduce(0, end_us, MARKS_MAX // (4 * max(len(marks.names), 1)))
    live = Live(
        end_us=end_us,
        pools=pools,
        together=together,
        marks=marks,
        marks_of=len(whole.marks),
        episodes=_worst(evidence.episodes),
        detail=detail,
        columns=None if all(exact.values()) else columns,
        document={},
    )
    live.document.update(_document(story, live, exact))
    return live


def _worst(episodes: tuple[Episode, ...]) -> tuple[Episode, ...]:
    ranked = sorted(episodes, key=lambda each: each.badness, reverse=True)
    return tuple(sorted(ranked[:EPISODES_MAX], key=lambda each: (each.opened_us, each.number)))


def _document(story: Story, live: Live, exact: dict[str, bool]) -> dict[str, Any]:
    """The data, by names that the script knows."""
    return {
        "end": live.end_us,
        "palette": PALETTE,
        "cross": CROSS,
        "phases": [
            [phase.name, phase.start_us, phase.end_us, tint(phase.name)]
            for phase in story.whole.phases
        ],
        "pools": [
            {
                "name": pool,
                "full": [0, live.end_us]
                if exact[pool]
                else live.detail.windows[pool].ravel().tolist(),
                "series": {column: _points(steps) for column, steps in series.items()},
            }
            for pool, series in live.pools.items()
        ],
        "total": story.whole.total_tokens,
        "together": None if live.together is None else _points(live.together),
        "charts": _charts(story),
        "episodes": [
            [each.opened_us, each.closed_us, each.pool, each.number] for each in live.episodes
        ],
        "episodesOf": live.detail.episodes,
        "faults": {
            "names": list(live.marks.names),
            "fault": live.marks.fault.tolist(),
            "sent": _differences(live.marks.sent_us),
            "delivered": live.marks.delivered_us.tolist(),
            "here": live.marks.here.astype(int).tolist(),
        },
        "pool": story.whole.pool,
    }


def _charts(story: Story) -> list[list[dict[str, Any]]]:
    """The panels of each live chart, from top to bottom, as the drawings have them."""
    whole = story.whole
    charts = [
        [
            {"kind": "phases"},
            _panel("gap, tokens", whole.series[:1], whole.pool, fill=True, zero=True),
            _panel("available, tokens (dashed: total)", whole.series[1:2], whole.pool, total=True),
        ]
    ]
    if whole.holders:
        charts[0].append(_panel("held, tokens", whole.holders, whole.pool, zero=True, legend=True))
    if len(whole.marks):
        charts[0].append({"kind": "faults", "title": "faults, by send time"})
    if story.gaps is not None:
        gap = whole.series[:1]
        small = {"fill": True, "zero": True, "small": True}
        charts.append([_panel("all pools together", gap, None, **small)])
        charts[1] += [_panel(pool, gap, pool, shared=True, **small) for pool, _ in story.gaps.pools]
    return charts


def _panel(
    title: str, series: tuple[Series, ...], pool: str | None, **more: bool
) -> dict[str, Any]:
    """A panel of lines; without a pool, of all pools together."""
    lines = [[each.column, each.title, PALETTE[each.colour], list(each.dash)] for each in series]
    return {"kind": "lines", "title": title, "pool": pool, "lines": lines, **more}


def _points(steps: Steps) -> list[list[int]]:
    return [_differences(steps.time_us), _differences(steps.value)]


def _differences(values: Integers) -> list[int]:
    differences: list[int] = np.diff(values, prepend=np.int64(0)).tolist()
    return differences
