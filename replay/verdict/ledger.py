"""The ledger oracle: pages that changed hands, or were written or read, as in no correct engine.

The ledger only counts; it names neither pools nor owners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from replay.recording.events import read_events
from replay.recording.kinds import LedgerViolations
from replay.recording.reader import Recording
from replay.recording.words import what_happened
from replay.verdict.base import Oracle, Ruling
from replay.verdict.contents import Contents
from replay.verdict.findings.finding import (
    ALL_POOLS,
    RELEASED_BY_ANOTHER,
    Blamed,
    Block,
    category_of,
)


@dataclass(frozen=True, slots=True)
class Ledger(Oracle):
    """Violations of a recording, and what the contents oracle has seen of them already."""

    name = "ledger"
    objection = "pages were handled by others than their owners"
    telling_kinds = ("double-owned", "stale-write", "premature-free")

    violations: LedgerViolations
    contents: Contents

    @property
    def total(self) -> int:
        """Pages handled by others than their owners."""
        return self.violations.total

    def kinds(self) -> dict[str, int]:
        """Pages by kind of what the ledger alone has seen; wrong reads are not counted twice."""
        kinds = {"double-owned": self.violations.acquired_while_owned, "stale-write": 0}
        if not self.contents.wrong_first_tokens:
            kinds["stale-write"] += self.violations.slots_written_by_another
        if not self.contents.wrong_pages:
            # Nobody has read them since, or the right bytes were written over them in time.
            kinds["stale-write"] += self.violations.written_by_another
            kinds["premature-free"] = self.violations.read_by_another
        return {kind: pages for kind, pages in kinds.items() if pages}

    def ruling(self) -> Ruling | None:
        """Pages of the wrong owner are persistent, whatever the counts say."""
        found = self.violations
        parts = (
            (found.acquired_while_owned, "given out while somebody owned them"),
            (found.released_by_another, "released by another than their owner"),
            (found.written_by_another, "written by a transfer after they were released"),
            (found.read_by_another, "read by a transfer after they were released"),
            (
                found.slots_written_by_another,
                "first-token buffers, written after they were given back",
            ),
        )
        if not self.total:
            return None
        told = ", ".join(f"{pages} {what}" for pages, what in parts if pages)
        return "persistent", f"every count balances, but pages were not their owner's: {told}"

    def blame(self, recording: Recording) -> str:
        """One sentence with the likeliest event: the first faulted one that an engine could see."""
        if not self.total:
            return ""
        touched: list[tuple[int, int, str]] = []
        for batch in recording.batches("events", ("event", "sent_us", "request_id", "observed")):
            rows = batch.filter(pc.fill_null(batch["observed"], False))
            columns = (rows[name].to_pylist() for name in ("sent_us", "event", "request_id"))
            touched += zip(*columns, strict=True)
        told = "the ledger counts such pages and names none"
        if not touched:
            return f"{told}; no fault that an engine could see came before"
        _, number, request_id = min(touched)
        events = read_events(recording, {request_id}, touched_only=True)[request_id]
        event = next(each for each in events if each.event == number)
        return f"{told}; of the faults that an engine could see, the first: {what_happened(event)}"

    def blocks(self, recording: Recording, in_gaps: Sequence[Block]) -> Blamed:
        """One block for each kind, of all pools.

        Pages released by another than their owner are left out where gaps have them as over-freed.
        """
        kinds = self.kinds()
        over_freed = any(block.pages < 0 for block in in_gaps)
        if self.violations.released_by_another and not over_freed:
            kinds[RELEASED_BY_ANOTHER] = self.violations.released_by_another
        if not kinds:
            return []
        journal = recording.run["faults"]["rules"]
        rules = tuple(sorted(name for name, rule in journal.items() if rule["observed"]))
        faults = {
            rule["fault"] for rule in recording.run["plan"]["rules"] if rule["name"] in set(rules)
        }
        sentence = self.blame(recording)
        return [
            (
                Block(
                    category=category_of(kind, pages, can_end=False),
                    kind=kind,
                    pool=ALL_POOLS,
                    request_id=None,
                    pages=pages,
                    lasts=True,
                    faults=tuple(sorted(faults)),
                    rules=rules,
                ),
                sentence,
            )
            for kind, pages in sorted(kinds.items())
        ]


def read_ledger(recording: Recording, contents: Contents) -> Ledger:
    """What the ledgers of all pools have counted; nothing where run.json does not say."""
    found = recording.run["oracles"].get(Ledger.name)
    violations = LedgerViolations(0, 0) if found is None else LedgerViolations(**found)
    return Ledger(violations, contents)
