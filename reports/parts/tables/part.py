"""The tables of a report: who owns the gap, and which events did it.

A long table is cut and says so; the Parquet files of the recording hold all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from replay.recording.event_results import Result
from replay.recording.kinds import DECODE_ENDED
from replay.verdict.blame import blame
from replay.verdict.episodes import Episode, kind_of
from reports.evidence import Evidence
from reports.parts.base import Check, Part
from reports.tables import ROWS_MAX, Table, make_table
from reports.words import NOTHING, by_count, number, plain_seconds

#: What each table is called.
OWNERS = "Owners of the gap of the worst episode"
EVENTS = "Completion events of the owners, as sent and as delivered"
EPISODES = "Episodes: a gap from the audit where it opens to the audit where it closes"
UNFINISHED = "Requests that never ended"
CONTENTS = "Reads that found wrong bytes"

#: Verdict of one episode -> how it ended.
EPISODE_ENDS = {
    "persistent": "never closed",
    "transient": "healed",
    "inconclusive": "not within the budget",
}


def make_tables(evidence: Evidence) -> tuple[Table, ...]:
    """The tables that have something to say."""
    found: list[Table] = []
    if (worst := evidence.worst) is not None:
        found += [
            owners_table(evidence, worst),
            guilty_events_table(evidence, worst),
            episodes_table(evidence),
        ]
    found += [contents_table(evidence), unfinished_table(evidence)]
    return tuple(table for table in found if table.of)


def owners_table(evidence: Evidence, worst: Episode) -> Table:
    """The stays of the worst episode, the most pages first."""
    rows = _stays(evidence.tables["owners"], worst)
    largest = rows.append_column("size", pc.abs(rows["pages"])).sort_by(
        [("size", "descending"), ("opened_audit", "ascending"), ("request_id", "ascending")]
    )
    shown = (
        (
            row["request_id"],
            row["pool"],
            number(row["pages"]),
            kind_of(row["share"], row["closed_audit"] is not None, row["can_progress"]),
            row["state"],
            plain_seconds(row["opened_us"]),
            "still open" if row["closed_audit"] is None else plain_seconds(row["closed_us"]),
            row["ended_by"] or NOTHING,
        )
        for row in largest.slice(0, ROWS_MAX).to_pylist()
    )
    titles = "request|pool|#pages|kind|state on entry|#entered, s|#left, s|ended by"
    return make_table(OWNERS, titles, shown, rows.num_rows)


def requests_of(worst: Episode) -> list[str]:
    """Requests with pages in the worst episode, the most pages first."""
    pages: dict[str, int] = {}
    for owner in worst.owners:
        pages[owner.request_id] = max(pages.get(owner.request_id, 0), abs(owner.pages))
    return sorted(pages, key=lambda request_id: -pages[request_id])


def guilty_events_table(evidence: Evidence, worst: Episode) -> Table:
    """Every completion event of the owners of the worst episode, request by request."""
    guilty = requests_of(worst)
    events = evidence.tables["events"]
    mine = events.filter(pc.is_in(events["request_id"], pa.array(guilty, pa.string())))
    rank = pc.index_in(mine["request_id"], pa.array(guilty, pa.string()))
    mine = mine.append_column("rank", rank)
    mine = mine.sort_by([("rank", "ascending"), ("event", "ascending"), ("copy", "ascending")])
    rows = (_event_cells(row) for row in mine.slice(0, ROWS_MAX).to_pylist())
    titles = "request|#event|#copy|direction|#ranks|#room|#pages|#sent, s|#due, s|#delivered, s|fault|rule|result"
    return make_table(EVENTS, titles, rows, mine.num_rows)


def _event_cells(row: dict[str, Any]) -> tuple[str, ...]:
    delivered = row["delivered_us"]
    return (
        row["request_id"],
        number(row["event"]),
        number(row["copy"]),
        f"to {row['direction']}",
        NOTHING
        if row["prefill_tp_rank"] < 0
        else f"p{row['prefill_tp_rank']} d{row['decode_tp_rank']}",
        number(row["bootstrap_room"]),
        number(row["pages"]),
        plain_seconds(row["sent_us"], 6),
        plain_seconds(row["due_us"], 6),
        "never" if delivered is None else plain_seconds(delivered, 6),
        row["fault"] or NOTHING,
        row["rule"] or NOTHING,
        Result.of_row(row).text
        + (" (reports failure)" if row["failed"] else "")
        + (" (no effect)" if row["observed"] is False else ""),
    )


def episodes_table(evidence: Evidence) -> Table:
    """Every episode: open ones first, then the widest."""
    ranked = sorted(
        evidence.episodes,
        key=lambda each: (not each.is_open, -abs(each.gap_tokens), each.number),
    )
    size = evidence.page_size
    rows = (
        (
            number(each.number),
            each.pool,
            each.direction,
            EPISODE_ENDS[each.verdict],
            number(each.gap_tokens),
            number(each.gap_tokens // size),
            by_count(each.kinds),
            plain_seconds(each.opened_us),
            plain_seconds(each.closed_us),
            number(len({owner.request_id for owner in each.owners})),
            ", ".join(number(cause) for cause in each.cause_numbers[:8])
            + (" \N{HORIZONTAL ELLIPSIS}" if len(each.cause_numbers) > 8 else "")
            or NOTHING,
            blame(evidence.run, each),
        )
        for each in ranked[:ROWS_MAX]
    )
    titles = (
        "#episode|pool|direction|end|#widest gap, tokens|#pages|pages by kind|#opened, s|#closed, s"
        "|#requests|faulted events|cause"
    )
    return make_table(EPISODES, titles, rows, len(ranked))


def unfinished_table(evidence: Evidence) -> Table:
    """Requests of the trace itself that never ended, in order of arrival."""
    requests = evidence.tables["requests"]
    first = requests.filter(pc.equal(requests["cycle"], 0))
    ended = pc.is_in(first["decode_state"], pa.array(DECODE_ENDED))
    waiting = first.filter(pc.invert(ended)).sort_by(
        [("arrival_us", "ascending"), ("bootstrap_room", "ascending")]
    )
    rows = (
        (
            row["request_id"],
            row["decode_pool"],
            number(row["input_tokens"]),
            number(row["prompt_pages"]),
            row["prefill_state"],
            row["decode_state"],
            plain_seconds(row["arrival_us"]),
            plain_seconds(row["landed_us"]),
        )
        for row in waiting.slice(0, ROWS_MAX).to_pylist()
    )
    titles = "request|decode pool|#prompt tokens|#pages|prefill state|decode state|#arrived, s|#bytes landed, s"
    return make_table(UNFINISHED, titles, rows, waiting.num_rows)


def contents_table(evidence: Evidence) -> Table:
    """Reads that found other bytes than the request's own."""
    contents = evidence.tables["contents"].sort_by([("time_us", "ascending")])
    rows = (
        (
            row["request_id"],
            row["pool"],
            plain_seconds(row["time_us"]),
            number(row["pages"]),
            number(row["wrong_pages"]),
            "first token" if row["wrong_first_token"] else f"page {row['first_page']}",
            row["kind"],
            NOTHING if row["event"] is None else str(row["event"]),
            row["why"],
        )
        for row in contents.slice(0, ROWS_MAX).to_pylist()
    )
    titles = "request|pool|#read, s|#pages read|#wrong pages|first of them|kind|#event|why"
    return make_table(CONTENTS, titles, rows, contents.num_rows)


def _stays(owners: Any, worst: Episode) -> Any:
    """The rows of owners.parquet that belong to an episode, by the rule of the verdict."""
    mine = pc.and_(
        pc.equal(owners["pool"], worst.pool),
        pc.or_(
            owners["closed_audit"].is_null(),
            pc.fill_null(pc.greater(owners["closed_audit"], worst.opened_audit), False),
        ),
    )
    if worst.closed_audit is not None:
        mine = pc.and_(mine, pc.less(owners["opened_audit"], worst.closed_audit))
    return owners.filter(mine)


def check_tables(evidence: Evidence, shown: Sequence[Table]) -> tuple[Check, ...]:
    """Rows that each table says there are, against the recording."""
    counts = _counts(evidence)
    return tuple(
        Check(
            f"rows of the table \u201c{table.caption}\u201d = rows of the recording",
            number(table.of),
            number(counts[table.caption]),
            table.of == counts[table.caption] and len(table.rows) == min(table.of, ROWS_MAX),
        )
        for table in shown
        if table.caption in counts
    )


def _counts(evidence: Evidence) -> dict[str, int]:
    counts = {
        EPISODES: evidence.tables["episodes"].num_rows,
        CONTENTS: evidence.tables["contents"].num_rows,
        UNFINISHED: evidence.summary["requests"]["stuck"],
    }
    if (worst := evidence.worst) is not None:
        each = pc.value_counts(evidence.tables["events"]["request_id"]).to_pylist()
        by_request = {count["values"]: count["counts"] for count in each}
        counts[OWNERS] = len(worst.owners)
        names = {owner.request_id for owner in worst.owners}
        counts[EVENTS] = sum(by_request.get(name, 0) for name in names)
    return counts


TABLES = Part(
    "tables",
    lambda context: make_tables(context.evidence) or None,
    check_tables,
    link="Owners, events, episodes",
)
