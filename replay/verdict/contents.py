"""The contents oracle: pages and first tokens that held other bytes than the reader's own.

`contents.parquet` has a row for each read; of several reads of one request the worst counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from replay.recording.events import read_numbered_events
from replay.recording.reader import Recording
from replay.recording.words import counted, seconds
from replay.verdict.base import ID_CHARACTERS_MAX, Oracle, Ruling
from replay.verdict.findings.finding import Blamed, Block, category_of, faults_of, rules_of
from traces.text import shortened


@dataclass(frozen=True, slots=True)
class Contents(Oracle):
    """Wrong reads of a recording."""

    name = "contents"
    objection = "pages or first tokens were not the reader's"
    telling_kinds = ("stale-write", "premature-free")

    #: Pages by kind: stale-write, premature-free.
    wrong_pages: dict[str, int]
    wrong_first_tokens: int

    @property
    def pages(self) -> int:
        """All pages with other bytes than the reader's own."""
        return sum(self.wrong_pages.values())

    @property
    def total(self) -> int:
        """Wrong pages and first tokens."""
        return self.pages + self.wrong_first_tokens

    def kinds(self) -> dict[str, int]:
        """Pages by kind; a wrong first token counts as one page."""
        kinds = Counter(self.wrong_pages)
        kinds["stale-write"] += self.wrong_first_tokens
        return dict(kinds)

    def ruling(self) -> Ruling | None:
        """Wrong bytes are persistent: nothing takes an answer back."""
        if self.pages:
            words = f"decode read {counted(self.pages, 'page')} that held other bytes than its own"
            return "persistent", words
        if self.wrong_first_tokens:
            count = counted(self.wrong_first_tokens, "first token")
            return "persistent", f"decode took {count} from buffers that were not its own"
        return None

    def blame(self, recording: Recording) -> str:
        """One sentence about the first wrong read; empty for none."""
        if not self.total:
            return ""
        rows = recording.table("contents")
        wrong = rows.filter(pc.or_(pc.greater(rows["wrong_pages"], 0), rows["wrong_first_token"]))
        order = [(name, "ascending") for name in ("time_us", "pool", "request_id")]
        order += [("wrong_pages", "descending"), ("pages", "descending")]
        return _read_words(wrong.sort_by(order).slice(0, 1).to_pylist()[0])

    def blocks(self, recording: Recording, in_gaps: Sequence[Block]) -> Blamed:
        """Of each request the worst read, and every wrong first token."""
        rows = recording.table("contents").to_pylist()
        worst: dict[str, dict[str, Any]] = {}
        for row in rows:
            before = worst.get(row["request_id"])
            if before is None or _size(row) > _size(before):
                worst[row["request_id"]] = row
        reads = [
            (row, row["kind"], row["wrong_pages"]) for row in worst.values() if row["wrong_pages"]
        ]
        reads += [(row, "stale-write", 1) for row in rows if row["wrong_first_token"]]
        numbers = {row["event"] for row, _, _ in reads if row["event"] is not None}
        events = {
            fact.event: fact for fact in read_numbered_events(recording, numbers) if fact.rule
        }
        blamed = []
        for row, kind, pages in reads:
            event = events.get(row["event"])
            block = Block(
                category=category_of(kind, pages, can_end=False),
                kind=kind,
                pool=row["pool"],
                request_id=row["request_id"],
                pages=pages,
                lasts=True,
                faults=faults_of(event),
                rules=rules_of(event),
                opened_us=row["time_us"],
            )
            blamed.append((block, _read_words(row)))
        return blamed


def read_contents(table: pa.Table) -> Contents:
    """Count the wrong reads in contents.parquet."""
    worst: dict[str, tuple[int, str]] = {}
    columns = ("request_id", "wrong_pages", "kind")
    for request_id, wrong, kind in zip(
        *(table[column].to_pylist() for column in columns), strict=True
    ):
        worst[request_id] = max(worst.get(request_id, (0, "")), (wrong, kind))
    pages: Counter[str] = Counter()
    for wrong, kind in worst.values():
        pages[kind] += wrong
    return Contents(
        {kind: count for kind, count in sorted(pages.items()) if count},
        sum(table["wrong_first_token"].to_pylist()),
    )


def _size(row: dict[str, Any]) -> tuple[int, str]:
    return row["wrong_pages"], row["kind"]


def _read_words(row: dict[str, Any]) -> str:
    what = (
        "a first token that was not its own"
        if row["wrong_first_token"]
        else f"{row['wrong_pages']} of {row['pages']} pages that held other bytes"
    )
    event = "" if row["event"] is None else f" (event {row['event']})"
    reader = shortened(row["request_id"], ID_CHARACTERS_MAX)
    return (
        f"at {seconds(row['time_us'])} {reader} read {what} on {row['pool']}: {row['why']}{event}"
    )
