"""Follows every pool's gap through a replay, so that its pages can be shown where it was worst.

The audit that matters is the one that the verdict's `mismatch` names: the widest quiet gap of the
worst episode, the widest of all if none was quiet. Only the end tells which that is, and by then the
pages have gone on. So each wider gap is a candidate, of which a snapshot is kept:

    per pool       the current episode's            replaced by a wider one of the same episode
    of all pools   the worst closed episode's       replaced when a worse one closes

A snapshot is O(pool), and nothing else in an audit is. How much a replay may copy is therefore
bounded (`COPIED_PAGES_MAX`), gaps of pools where something runs having half of it only. Beyond it a
gap is copied that is much wider than any copied before, and in the end the pool of the worst episode
where nothing has closed it. The map says which audit it is of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from replay.pair.deployment import AnyRank
from replay.pair.request import Request
from replay.recording.writer import RecordingWriter
from replay.watch.page_map import Snapshot, take_snapshot

#: Pages that the snapshots of a replay may copy. 64 Mi pages are 256 MiB of owners, some tenth of a
#: second: over three hundred snapshots of pools of 13,858,304 tokens in pages of 64, and five where
#: a page is one token.
COPIED_PAGES_MAX = 1 << 26
#: Beyond it, how much wider than any gap copied before one must be: at most fifteen more.
_FACTOR = 4


@dataclass(slots=True)
class Candidate:
    """An episode of one pool, as `replay.recording.audits.GapSpan` has it, in pages."""

    pool: str
    opened_audit: int
    opened_us: int
    widest_pages: int = 0
    quiet_pages: int = 0
    snapshot: Snapshot | None = None
    #: How the verdict ranks it at the end: nothing can close it; nothing has.
    stays: tuple[bool, bool] = (False, False)

    def take_in(self, gap_pages: int, quiet: bool) -> bool:
        """Take in an audit; whether it is the one that the mismatch would be taken from now."""
        size = abs(gap_pages)
        is_widest, is_widest_quiet = size > self.widest_pages, quiet and size > self.quiet_pages
        if is_widest:
            self.widest_pages = size
        if is_widest_quiet:
            self.quiet_pages = size
        return is_widest_quiet or (is_widest and not self.quiet_pages)

    @property
    def pages(self) -> int:
        """How wide its mismatch is."""
        return self.quiet_pages or self.widest_pages

    @property
    def order(self) -> tuple[int, str, int]:
        """Of equally bad episodes the first one counts, in the order of their numbers."""
        return self.opened_us, self.pool, self.opened_audit


class WidestGap:
    """The worst episode of all pools, with a snapshot of its pool."""

    def __init__(self) -> None:
        #: What all snapshots together took, in pages copied, and the widest gap among them.
        self.copied_pages = 0
        self.copied_gap_pages = 0
        self._closed: Candidate | None = None
        #: Episodes that are open at the end, each with what copies its pool as it is then.
        self._left: list[tuple[Candidate, Callable[[], None]]] = []

    def close(self, candidate: Candidate) -> None:
        """An audit has closed this episode."""
        worst = self._closed
        if worst is not None and (-worst.pages, worst.order) <= (-candidate.pages, candidate.order):
            return
        if candidate.snapshot is None and worst is not None:
            candidate.snapshot = worst.snapshot
        self._closed = candidate

    def leave_open(self, candidate: Candidate, copy_end: Callable[[], None]) -> None:
        """No audit has closed this episode before the end of the replay."""
        self._left.append((candidate, copy_end))

    def write(self, recorder: RecordingWriter) -> None:
        """Write the map of the worst episode, if there is one. Waits for the device."""
        found = [candidate for candidate, _ in self._left]
        found += [] if self._closed is None else [self._closed]
        found.sort(key=lambda each: each.order)
        worst = max(found, key=lambda each: (*each.stays, each.pages), default=None)
        for candidate, copy_end in self._left:
            if candidate is worst:
                copy_end()
        if worst is not None and worst.snapshot is not None:
            recorder.pages(worst.snapshot.to_columns())


class PoolGap:
    """The gap of one pool, audit by audit."""

    def __init__(self, rank: AnyRank, requests: Mapping[int, Request], widest: WidestGap) -> None:
        self._rank = rank
        self._requests = requests
        self._widest = widest
        self._current: Candidate | None = None

    @property
    def is_open(self) -> bool:
        """Whether the last audit had a gap."""
        return self._current is not None

    def see(self, audit: int, time_us: int, gap_pages: int, quiet: bool) -> None:
        """Take in an audit that has a gap, or is the first without one."""
        current = self._current
        if gap_pages == 0:
            if current is not None:
                self._widest.close(current)
            self._current = None
            return
        if current is None:
            current = self._current = Candidate(self._rank.name, audit, time_us)
        if current.take_in(gap_pages, quiet) and self._is_affordable(abs(gap_pages), quiet):
            self._copy(current, audit, gap_pages)

    def end(self, last_audit: int, gap_pages: int, could_close: bool) -> None:
        """The replay is over, and the pool still as its last audit found it."""
        current = self._current
        if current is None:
            return

        def copy_end() -> None:
            kept = 0 if current.snapshot is None else abs(current.snapshot.gap_pages)
            if kept < current.pages and kept < abs(gap_pages):
                self._copy(current, last_audit, gap_pages)

        current.stays = (not could_close, True)
        self._widest.leave_open(current, copy_end)

    def _is_affordable(self, size: int, quiet: bool) -> bool:
        allowed = COPIED_PAGES_MAX if quiet else COPIED_PAGES_MAX // 2
        widest = self._widest
        return widest.copied_pages < allowed or size >= _FACTOR * widest.copied_gap_pages

    def _copy(self, current: Candidate, audit: int, gap_pages: int) -> None:
        buffer = None if current.snapshot is None else current.snapshot.owner
        current.snapshot = take_snapshot(self._rank, audit, gap_pages, self._requests, buffer)
        self._widest.copied_pages += current.snapshot.cost_pages
        self._widest.copied_gap_pages = max(self._widest.copied_gap_pages, abs(gap_pages))
