"""A decode instance: DP ranks in lockstep, which skip iterations in which nothing happens.

Under DP attention all ranks run every forward pass together; a rank without requests runs an idle
batch, and the slowest rank sets the pace. Between two events of an instance only decode lengths
grow, so the instance plans one leap to the next relevant iteration. An arrival ends the leap at the
first iteration boundary that would have seen it.

    boundary            boundary (planned)
       |---step---step---step---step---|
                  ^ arrival: the leap now ends here --> boundary
"""

from __future__ import annotations

from replay.pair.clock import Clock, Priority, Timer
from replay.pair.decode_rank import DecodeRank
from replay.pair.ports import Watcher
from replay.pair.running_batch import NEVER
from replay.profiles.profile import EngineProfile


class DecodeInstance:
    """All DP ranks of one decode server, in lockstep on the virtual clock."""

    def __init__(self, profile: EngineProfile, clock: Clock, watcher: Watcher) -> None:
        self.ranks: list[DecodeRank] = []
        self._profile = profile
        self._clock = clock
        self._watcher = watcher
        #: Decode steps run so far; each rank counts the steps it spent on prebuilt batches.
        self._steps = 0
        #: The current leap: it began at `_began_us`; its first iteration takes `_first_us` (0 if the
        #: engine idles), each further one `_next_us`.
        self._began_us = 0
        self._first_us = 0
        self._next_us = 0
        self._timer: Timer | None = None
        self._unchecked: set[str] = set()
        self._is_hung = False

    def add_rank(self, rank: DecodeRank) -> None:
        """Add a rank; all ranks must be added before the first event."""
        self.ranks.append(rank)

    def wake(self) -> None:
        """Make the next iteration boundary process an arrival at a rank."""
        boundary = self._boundary_after(self._clock.now_us)
        if self._timer is not None:
            if self._timer.at_us <= boundary:
                return
            self._clock.cancel(self._timer)
        self._timer = self._clock.schedule(boundary, Priority.ENGINE, self._boundary)

    def _boundary(self) -> None:
        now = self._clock.now_us
        self._timer = None
        self._account_for_steps(now)
        if self._is_hung:
            # The ranks run every forward pass together: one that hangs blocks all of them.
            return
        for rank in self.ranks:
            if rank.needs_attention or rank.interest_step <= self._steps:
                rank.iterate(now, self._steps)
                self._unchecked.add(rank.name)
                self._is_hung |= rank.is_hung
        self._plan(now)

    def _boundary_after(self, now: int) -> int:
        """Return the first iteration boundary that sees an arrival at the current time."""
        if self._first_us == 0:
            period = self._profile.poll_interval_us
            return self._began_us + max(1, -(-(now - self._began_us) // period)) * period
        past_first = now - self._began_us - self._first_us
        if past_first <= 0:
            return self._began_us + self._first_us
        return now + -past_first % self._next_us

    def _account_for_steps(self, now: int) -> None:
        """Count the decode steps since the leap began."""
        if self._first_us:
            self._steps += 1 + (now - self._began_us - self._first_us) // self._next_us

    def _plan(self, now: int) -> None:
        """Choose the duration of the next iterations and the number that can be skipped.

        A rank with a prebuilt batch rests in the first of them, which may therefore be shorter.
        """
        self._began_us, self._first_us = now, 0
        widest_first, widest, next_step, is_resting = 0, 0, NEVER, False
        for rank in self.ranks:
            if rank.interest_step < next_step:
                next_step = rank.interest_step
            if (batch := len(rank.running.requests)) > widest:
                widest = batch
            if rank.is_resting:
                is_resting = True
            elif batch > widest_first:
                widest_first = batch
        if not widest:
            self._check_idle()
        if next_step == NEVER:
            return
        # An iteration without a forward pass is one turn of the scheduler's loop.
        self._first_us = self._iteration_us(widest_first)
        self._next_us = self._iteration_us(widest)
        at_us = now + self._first_us + (next_step - self._steps - 1) * self._next_us
        self._timer = self._clock.schedule(at_us, Priority.ENGINE, self._boundary)
        if is_resting:
            for rank in self.ranks:
                rank.is_resting = False

    def _iteration_us(self, batch: int) -> int:
        if not batch:
            return self._profile.poll_interval_us
        return self._profile.decode_step_us + self._profile.decode_step_us_per_request * batch

    def _check_idle(self) -> None:
        """Run the engine's own check on every rank with an open gate, once per change."""
        for rank in self.ranks:
            if rank.name in self._unchecked and rank.is_gate_open():
                self._unchecked.discard(rank.name)
                self._watcher.engine_idle(rank)
