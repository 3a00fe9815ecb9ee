"""Audits: whether every page of a pool is accounted for, and if not, whose pages are missing.

Two checks are kept apart. The *harness audit* runs whenever accounting could have changed and asks
where every page is; what is left over is the gap. The *engine check* runs only when the profile's
engine would run its own, computes that engine's formula and says its words.

The audit looks at a pool from both sides. What the allocator and the cache count gives one gap; what
the schedulers' books say about overdue, forgotten and over-freed pages gives another. They must be
equal; a remainder nobody can explain is itself a finding (`counter-drift`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from replay.errors import InvariantError
from replay.pair.clock import Clock
from replay.pair.decode_rank import DecodeRank
from replay.pair.deployment import AnyRank, Deployment
from replay.pair.prefill_rank import PrefillRank
from replay.pair.request import Rank, Request
from replay.profiles.profile import EngineProfile
from replay.recording.engine_messages import (
    PoolCounts,
    is_leak,
    request_pool_message,
    token_pool_message,
)
from replay.recording.kinds import ShareKind
from replay.recording.owner_codes import FIRST_OWNER
from replay.recording.tables import NOBODY_NAME
from replay.recording.writer import RecordingWriter
from replay.watch.base import Observer
from replay.watch.page_map import row_of
from replay.watch.requests import PendingWork
from replay.watch.worst_gap import PoolGap, WidestGap

#: Who owns the part of a gap that no request explains.
NOBODY = -1
_DRIFT = (NOBODY, ShareKind.COUNTER_DRIFT)


@dataclass(slots=True)
class _Stay:
    """A request's pages in a pool's gap, from the audit that saw them enter."""

    opened_audit: int
    opened_us: int
    pages: int
    ledger_pages: int | None
    state: str


class PoolAuditor:
    """Audits one pool and keeps track of who is in its gap."""

    def __init__(
        self,
        rank: AnyRank,
        recorder: RecordingWriter,
        profile: EngineProfile,
        requests: Mapping[int, Request],
        widest: WidestGap,
    ) -> None:
        self.rank = rank
        self._requests = requests
        self._cache = rank.cache if isinstance(rank, PrefillRank) else None
        self._recorder = recorder
        self._profile = profile
        self._last: tuple[int, ...] | None = None
        self._iterations = 0
        self._stays: dict[tuple[int, ShareKind], _Stay] = {}
        self._unexplained = 0
        self._gap = PoolGap(rank, requests, widest)
        #: Number of the last audit that was written, and its gap in pages.
        self._last_gap = (-1, 0)

    def counts(self) -> PoolCounts:
        """What the engine itself counts, in tokens."""
        pool = self.rank.pool
        evictable, protected = self._cache_pages()
        return PoolCounts(
            available=pool.available_pages * pool.page_size,
            evictable=evictable * pool.page_size,
            protected=protected * pool.page_size,
            total=pool.total_pages * pool.page_size,
        )

    def audit(
        self,
        number: int,
        time_us: int,
        phase: str,
        iterations: int,
        engine_check: str,
    ) -> bool:
        """Audit the pool; returns whether a row was written (something changed or was checked)."""
        pool, account = self.rank.pool, self.rank.pool.account
        self._iterations += iterations
        evictable, protected = self._cache_pages()
        protected -= account.cache_held_pages
        accounted = pool.available_pages + evictable + protected
        accounted += account.live_pages + account.transfer_pages
        gap = pool.total_pages - accounted
        self._unexplained = gap - account.gap_pages
        if account.live_pages < 0 or account.transfer_pages < 0:
            raise InvariantError(
                f"{pool.name}: live {account.live_pages} and in-transfer {account.transfer_pages} "
                "pages must not be negative"
            )
        numbers = (
            pool.available_pages,
            evictable,
            protected,
            account.live_pages,
            account.transfer_pages,
            gap,
        )
        if account.changed or self._unexplained or _DRIFT in self._stays:
            self._follow_shares(number, time_us)
        elif engine_check == "none" and numbers == self._last:
            return False
        self._last = numbers
        if gap or self._gap.is_open:
            quiet = account.live_pages == 0 and account.transfer_pages == 0
            self._gap.see(number, time_us, gap, quiet)
            self._last_gap = (number, gap)
        self._write(number, time_us, phase, numbers, engine_check)
        return True

    def engine_words(self) -> str | None:
        """What the engine's own check says here, or None when it is content."""
        style, counts = self._profile.message_style, self.counts()
        if is_leak(counts, self._profile.check_counts_protected):
            return token_pool_message(style, counts)
        if isinstance(self.rank, DecodeRank):
            slots = self._profile.request_slots
            if self.rank.memory.free_request_slots != slots:
                return request_pool_message(style, self.rank.memory.free_request_slots, slots)
        return None

    def close(self, pending: PendingWork) -> None:
        """Write the stays that are still open at the end of the recording."""
        moving = {ordinal: self._can_progress(ordinal, pending) for ordinal, _ in self._stays}
        self._gap.end(*self._last_gap, could_close=bool(moving) and all(moving.values()))
        for (ordinal, kind), stay in self._stays.items():
            self._write_stay(ordinal, kind, stay, None, None, None, moving[ordinal])
        self._stays = {}

    def _can_progress(self, ordinal: int, pending: PendingWork) -> bool:
        """Whether a request that owns part of the gap could still leave it."""
        request = self._requests.get(ordinal)
        if request is None or request.has_ended:
            return False
        return pending.can_progress(ordinal)

    def check_ledger(self) -> None:
        """Compare the ledger with the host's shadow of it, page by page. O(pool).

        Raises:
            InvariantError: they differ, although nothing was over-freed or given out twice.
        """
        pool = self.rank.pool
        by_owner = pool.ledger.count_by_owner()
        held = {code - FIRST_OWNER: count for code, count in by_owner.items() if code > 1}
        over_freed = any(share.kind is ShareKind.OVER_FREED for share in pool.account.shares())
        # A page that was given out twice is in one row of the ledger only.
        twice = pool.ledger.violations().acquired_while_owned
        if held != pool.held_pages and not over_freed and not twice:
            raise InvariantError(
                f"{pool.name}: the ledger holds pages for {sorted(held.items())[:5]}..., the host "
                f"for {sorted(pool.held_pages.items())[:5]}..."
            )

    def _cache_pages(self) -> tuple[int, int]:
        if self._cache is None:
            return 0, 0
        return self._cache.evictable_pages, self._cache.protected_pages

    def _write(
        self, number: int, time_us: int, phase: str, numbers: tuple[int, ...], engine_check: str
    ) -> None:
        size = self.rank.pool.page_size
        available, evictable, protected, live, in_transfer, gap = numbers
        self._recorder.audit(
            (
                number,
                time_us,
                self.rank.name,
                phase,
                available * size,
                evictable * size,
                protected * size,
                live * size,
                in_transfer * size,
                gap * size,
                live == 0 and in_transfer == 0,
                self._iterations,
                engine_check,
            )
        )
        self._iterations = 0

    def _follow_shares(self, number: int, time_us: int) -> None:
        """Open and close stays as shares of the gap have changed since the last audit."""
        account = self.rank.pool.account
        changed = list(account.changed)
        account.changed.clear()
        for key in changed:
            self._set_share(key, account.share(*key), number, time_us)
        self._set_share(_DRIFT, self._unexplained, number, time_us)

    def _set_share(
        self,
        key: tuple[int, ShareKind],
        pages: int,
        number: int,
        time_us: int,
    ) -> None:
        stay = self._stays.get(key)
        if (stay.pages if stay else 0) == pages:
            return
        ordinal, kind = key
        if stay is not None:
            del self._stays[key]
            ended_by = self._state(ordinal)
            self._write_stay(ordinal, kind, stay, number, time_us, ended_by, True)
        if pages:
            state = self._state(ordinal)
            ledger_pages = self._ledger_pages(ordinal, kind)
            self._stays[key] = _Stay(number, time_us, pages, ledger_pages, state)

    def _write_stay(
        self,
        ordinal: int,
        kind: ShareKind,
        stay: _Stay,
        closed_audit: int | None,
        closed_us: int | None,
        ended_by: str | None,
        can_progress: bool,
    ) -> None:
        self._recorder.owner(
            (
                self.rank.name,
                NOBODY_NAME if ordinal == NOBODY else self._requests[ordinal].request_id,
                kind.value,
                stay.pages,
                stay.ledger_pages,
                stay.state,
                stay.opened_audit,
                stay.opened_us,
                closed_audit,
                closed_us,
                ended_by,
                can_progress,
            )
        )

    def _state(self, ordinal: int) -> str:
        if ordinal == NOBODY:
            return "unknown"
        request = self._requests[ordinal]
        if isinstance(self.rank, DecodeRank):
            return request.decode_state.value
        return request.prefill_state.value

    def _ledger_pages(self, ordinal: int, kind: ShareKind) -> int | None:
        """How many pages of the request's row the ledger agrees about, where it has a row."""
        if kind not in (ShareKind.STALLED, ShareKind.DEPARTED) or ordinal == NOBODY:
            return None
        row = row_of(self.rank, self._requests[ordinal])
        return None if row is None else self.rank.pool.ledger.count_held(row, ordinal + FIRST_OWNER)


class Auditor(Observer):
    """All pools of a replay: numbers the audits and runs the engines' own checks."""

    def __init__(
        self, recorder: RecordingWriter, requests: Mapping[int, Request], pending: PendingWork
    ) -> None:
        self._recorder = recorder
        self._requests = requests
        self._pending = pending
        self._clock: Clock
        self._profile: EngineProfile
        self._pools: dict[str, PoolAuditor] = {}
        self._widest = WidestGap()
        self._number = 0
        self._phase = "inject"
        self.engine_check_fired = False
        self.died_us: int | None = None
        self.died_pool: str | None = None
        self.died_message: str | None = None
        #: Whether that was the engine's own check, and not a crash.
        self.died_of_check = False

    def begin(self, pair: Deployment) -> None:
        """Audit every pool, now and from now on."""
        self._clock, self._profile = pair.clock, pair.profile
        for rank in pair.ranks():
            self._pools[rank.name] = PoolAuditor(
                rank, self._recorder, pair.profile, self._requests, self._widest
            )
        self._audit_all()

    def phase_began(self, phase: str) -> None:
        """Note the phase that audits are in from now on."""
        self._phase = phase

    def phase_ended(self, phase: str) -> None:
        """Audit every pool, page by page."""
        self._audit_all()
        for auditor in self._pools.values():
            auditor.check_ledger()

    def accounting_changed(self, rank: Rank, iterations: int) -> None:
        """Audit the rank's pool."""
        self._audit(rank.name, iterations)

    def engine_idle(self, rank: Rank) -> None:
        """Run the engine's own check, as it would itself now."""
        if self._profile.check_strictness == "none":
            return
        words = self._pools[rank.name].engine_words()
        self._audit(rank.name, 0, "ok" if words is None else "fired")
        if words is not None:
            self.engine_check_fired = True
            if self._profile.check_strictness == "error":
                self._note_death(rank, words, of_check=True)

    def engine_died(self, rank: Rank, message: str) -> None:
        """Note that the real engine would have raised and died."""
        self._note_death(rank, message, of_check=False)

    def replay_ended(self) -> None:
        """Write what is still open."""
        for auditor in self._pools.values():
            auditor.close(self._pending)
        self._widest.write(self._recorder)

    def _audit_all(self) -> None:
        for name in self._pools:
            self._audit(name, 0)

    def _audit(self, pool: str, iterations: int, engine_check: str = "none") -> None:
        self._number += self._pools[pool].audit(
            self._number, self._clock.now_us, self._phase, iterations, engine_check
        )

    def _note_death(self, rank: Rank, message: str, of_check: bool) -> None:
        """Note the first time that the real engine would have died, and of what."""
        if self.died_us is None:
            self.died_of_check = of_check
            self.died_us = self._clock.now_us
            self.died_pool = rank.name
            self.died_message = message
