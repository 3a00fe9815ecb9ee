"""A prefill instance: DP ranks that run their chunk batches together on the virtual clock."""

from __future__ import annotations

from replay.pair.clock import Clock, Priority, Timer
from replay.pair.ports import Watcher
from replay.pair.prefill_rank import PrefillRank
from replay.profiles.profile import EngineProfile


class PrefillInstance:
    """All DP ranks of one prefill server; the fullest batch sets the pace."""

    def __init__(self, profile: EngineProfile, clock: Clock, watcher: Watcher) -> None:
        self.ranks: list[PrefillRank] = []
        self._profile = profile
        self._clock = clock
        self._watcher = watcher
        self._idle_since_us = 0
        self._timer: Timer | None = None

    def add_rank(self, rank: PrefillRank) -> None:
        """Add a rank; all ranks must be added before the first event."""
        self.ranks.append(rank)

    def wake(self) -> None:
        """Process an arrival at a rank when the running batch ends, or at the next poll."""
        if self._timer is not None:
            return
        period = self._profile.poll_interval_us
        waited = self._clock.now_us - self._idle_since_us
        boundary = self._idle_since_us + max(1, -(-waited // period)) * period
        self._timer = self._clock.schedule(boundary, Priority.ENGINE, self._boundary)

    def _boundary(self) -> None:
        now = self._clock.now_us
        self._timer = None
        for rank in self.ranks:
            rank.iterate(now)
        tokens = max(rank.batch_tokens() for rank in self.ranks)
        if tokens:
            duration = self._profile.prefill_step_us + (
                self._profile.prefill_us_per_1k_tokens * tokens // 1000
            )
            self._timer = self._clock.schedule(now + duration, Priority.ENGINE, self._boundary)
            return
        self._idle_since_us = now
        for rank in self.ranks:
            if rank.is_gate_open():
                self._watcher.engine_idle(rank)
