"""What really became of a pair, from its own state at the end of all time.

No audit, no gap and no verdict is asked. The replay is run once more with a heal budget that has no end
and, after its last cycle, until no event is left at all. Then the pools are counted: a page that the
ledger gives to a request, a counter that does not add up, a slot that did not come back, or a request
that never ended is broken for good. What was out of order in between is noted on the way: bytes landed
long ago whose request still waits for them, and checks of the engine that failed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replay.pair.decode_rank import DecodeRank
from replay.pair.deployment import AnyRank, Deployment
from replay.pair.prefill_rank import PrefillRank
from replay.pair.request import Rank, Request
from replay.recording.owner_codes import CACHE
from replay.recording.writer import RecordingWriter
from replay.run.device import arrays_on, choose_device
from replay.run.session import Session
from replay.watch.base import Observer
from traces.files.place import scratch

if TYPE_CHECKING:
    from replay.run.replay_once import ReplayRequest

#: Some three hundred centuries.
UNLIMITED_US = 10**18


class Label(StrEnum):
    """What is true of a replay."""

    #: Nothing was ever out of order.
    CLEAN = "clean"
    #: Something was, and all of it came right.
    TRANSIENT = "transient"
    #: Pages, slots or requests are lost for good.
    PERSISTENT = "persistent"
    #: All counts are right and every request ended, but pages or bytes were another's. No log shows
    #: it, nor a counter that drifted where no line prints it.
    SILENT = "silent"


@dataclass(slots=True)
class Truth:
    """The label of one replay and what it rests on."""

    label: Label = Label.CLEAN
    #: Pool -> what is wrong with it for good, in words.
    broken: dict[str, str] = field(default_factory=dict)
    #: Pools in which something waited longer than it had to.
    disturbed: set[str] = field(default_factory=set)
    wrong_pages: int = 0
    #: Whether anything broken is such that an engine of this kind could print it: pages, slots,
    #: requests, or a counter that its check reads.
    shows: bool = False

    @property
    def log_label(self) -> Label:
        """The label as far as a log can tell."""
        if self.label is Label.PERSISTENT and not self.shows:
            return Label.SILENT
        return self.label


def find_truth(request: ReplayRequest) -> Truth:
    """Replay to the end of all time and look."""
    options = dataclasses.replace(request.options, heal_budget_us=UNLIMITED_US)
    with scratch() as directory:
        recorder, witness = _CountingRecorder(directory), _Witness()
        session = Session(
            request.trace,
            request.profile,
            request.plan,
            options,
            recorder,
            request.arrays or arrays_on(choose_device(request.device)),
            observers=[witness],
        )
        session.run_phases()
        session.run_dry()
        session.close()
        truth = witness.truth
        truth.wrong_pages = recorder.wrong_pages + session.pair.ledger_violations().total
        if truth.broken:
            truth.label = Label.PERSISTENT
        elif truth.wrong_pages:
            truth.label = Label.SILENT
        elif truth.disturbed or session.auditor.engine_check_fired:
            truth.label = Label.TRANSIENT
        session.pair.free_pools()
    return truth


class _CountingRecorder(RecordingWriter):
    """Counts pages that were read with another's bytes."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.wrong_pages = 0
        write = self.content

        def content(row: tuple[Any, ...]) -> None:
            self.wrong_pages += 1
            write(row)

        self.content = content


class _Witness(Observer):
    """Looks at the pair itself: after every change, after healing, and at the end."""

    def __init__(self) -> None:
        self.truth = Truth()
        self._pair: Deployment
        self._requests: list[Request] = []

    def begin(self, pair: Deployment) -> None:
        """Know what to look at."""
        self._pair = pair

    def request_arrived(self, request: Request) -> None:
        """Keep it in sight."""
        self._requests.append(request)

    def accounting_changed(self, rank: Rank, iterations: int) -> None:
        """Note whose bytes have long landed and who still waits for them."""
        profile, now_us = self._pair.profile, self._pair.clock.now_us
        patience_us = (
            profile.completion_latency_us
            + profile.poll_interval_us
            + profile.transfer_skew_us * 64
            + 2 * (profile.decode_step_us + profile.decode_step_us_per_request * 64)
            + 2 * (profile.prefill_step_us + profile.prefill_us_per_1k_tokens * 16)
        )
        for request in _waiting(rank):
            if 0 <= request.landed_us < now_us - patience_us:
                self.truth.disturbed.add(rank.name)

    def phase_ended(self, phase: str) -> None:
        """Look when all that faults brought about is over."""
        if phase == "heal":
            self._look()

    def replay_ended(self) -> None:
        """Look for the last time."""
        self._look()

    def _look(self) -> None:
        profile = self._pair.profile
        shows_drift = profile.check_strictness != "none" and profile.check_counts_protected
        for rank in self._pair.ranks():
            lost, drifted = _what_is_lost(rank), _what_drifted(rank)
            if lost is not None or drifted is not None:
                self.truth.broken.setdefault(rank.name, lost or drifted or "")
            self.truth.shows |= lost is not None or (drifted is not None and shows_drift)
        for request in self._requests:
            if not request.decode_ended:
                self.truth.broken.setdefault(request.decode.name, "a request never ended")
                self.truth.shows = True
            if not request.prefill_ended:
                self.truth.broken.setdefault(request.prefill.name, "a request never ended")
                self.truth.shows = True


def _waiting(rank: Rank) -> list[Request]:
    """Requests that hold pages of a rank because of a transfer."""
    if isinstance(rank, DecodeRank):
        return [*rank.transfers.open.values(), *rank.transfers.deferred.values()]
    assert isinstance(rank, PrefillRank)
    return list(rank.inflight.open.values())


def _what_is_lost(rank: AnyRank) -> str | None:
    """What is lost of a pool in which nothing will ever happen again, or None."""
    pool = rank.pool
    owned = pool.ledger.count_by_owner()
    cached = owned.pop(CACHE, 0)
    if owned:
        return f"{sum(owned.values())} pages belong to {len(owned)} requests"
    if difference := pool.total_pages - pool.available_pages - cached:
        return f"{difference} pages are neither free nor cached"
    if isinstance(rank, DecodeRank):
        missing_slots = rank.profile.request_slots - rank.memory.free_request_slots
        if missing_slots:
            return f"{missing_slots} request slots are missing"
    return None


def _what_drifted(rank: AnyRank) -> str | None:
    """What is wrong with the counters of a pool that lacks nothing, or None."""
    if isinstance(rank, DecodeRank):
        return None
    cache = rank.cache
    if cache.protected_pages:
        return f"{cache.protected_pages} pages count as locked, and nobody locks any"
    difference = rank.pool.total_pages - rank.pool.available_pages - cache.evictable_pages
    return f"the cache counts {-difference} pages too many" if difference else None
