"""A replay that is watched: the same session, with a notebook beside it.

The ledgers and the page contents of its pools are put under watch by classes that note what passes
and then do what they always do. An ordinary replay has none of this.
"""

from __future__ import annotations

from typing import Any

from faults.events import DECODE_STATES, RequestState
from replay.explain.sightings import PageAction, Watch
from replay.pair.clock import Clock
from replay.pair.request import DecodeState, Request
from replay.pool.arrays import Array
from replay.pool.ledger import PageLedger
from replay.pool.owner_codes import CACHE, FIRST_OWNER, FREE
from replay.pool.storage import KvStorage, ordinal_of_writer
from replay.run.session import Session, SessionResult
from replay.watch.audit import Rank
from traces.schema import TraceRequest


class WatchedLedger(PageLedger):
    """A ledger in the place of another, with the same owners in it."""

    def __init__(self, inner: PageLedger, pool: str, clock: Clock, watch: Watch) -> None:
        vars(self).update(vars(inner))
        self._pool, self._clock, self._watch = pool, clock, watch

    def acquire(self, pages: Array, owner: int) -> None:
        """Note who takes pages."""
        self._note("take", pages, owner)
        super().acquire(pages, owner)

    def acquire_many(self, pages: Array, owners: Array) -> None:
        """Note who takes pages."""
        self._note("take", pages, owners)
        super().acquire_many(pages, owners)

    def hand_over(self, pages: Array, owner: int, new_owner: int) -> None:
        """Note who gives pages back, or to the prefix cache."""
        if new_owner == FREE:
            self._note("evict" if owner == CACHE else "release", pages, owner)
        else:
            self._note("cache", pages, owner)
        super().hand_over(pages, owner, new_owner)

    def note_write(self, pages: Array, owner: int) -> None:
        """Note a transfer that may write into pages of others."""
        if self._watch.request_id is not None:
            self._note("stray-write", pages, owner)
        super().note_write(pages, owner)

    def note_read(self, pages: Array, owner: int) -> None:
        """Note a transfer that may read pages of others."""
        self._note("stray-read", pages, owner)
        super().note_read(pages, owner)

    def _note(self, action: PageAction, pages: Array, by: Array | int) -> None:
        holders = self.owners(pages)
        self._watch.note_pages(
            self._arrays, self._clock.now_us, self._pool, action, pages, holders, by
        )


class WatchedStorage(KvStorage):
    """Page contents in the place of others, the same ones."""

    def __init__(self, inner: KvStorage, pool: str, clock: Clock, watch: Watch) -> None:
        vars(self).update(vars(inner))
        self._pool, self._clock, self._watch = pool, clock, watch
        self._ledger_of: dict[str, PageLedger] = {}

    def connect(self, ledger_of: dict[str, PageLedger]) -> None:
        """Know the ledgers of all pools by name."""
        self._ledger_of = ledger_of

    def receive(
        self,
        pages: Array,
        source: KvStorage,
        source_pages: Array,
        tag: int,
        writer: int,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Note a transfer that lands in the watched page, or is read from it."""
        by = ordinal_of_writer(writer) + FIRST_OWNER
        assert isinstance(source, WatchedStorage)
        self._note("landed", self._pool, pages, by)
        self._note("sent", source._pool, source_pages, by)
        super().receive(pages, source, source_pages, tag, writer, share)

    def _note(self, action: PageAction, pool: str, pages: Array, by: int) -> None:
        holders = self._ledger_of[pool].owners(pages)
        self._watch.note_pages(self._arrays, self._clock.now_us, pool, action, pages, holders, by)


class WatchedSession(Session):
    """A session that writes down what it sees of one request or one page."""

    def __init__(self, watch: Watch, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._watch = watch
        self._watched: Request | None = None
        #: Whether its end was seen, on the decode and on the prefill side.
        self._ended = [False, False]
        #: Whether it was last seen waiting for pages on the decode side.
        self._in_prealloc = False
        pools = [rank.pool for rank in self._pair.ranks()]
        for pool in pools:
            pool.ledger = WatchedLedger(pool.ledger, pool.name, self.clock, watch)
        if watch.pool is not None:
            ledger_of: dict[str, PageLedger] = {pool.name: pool.ledger for pool in pools}
            for pool in pools:
                storage = WatchedStorage(pool.storage, pool.name, self.clock, watch)
                storage.connect(ledger_of)
                pool.storage = storage

    def run(self) -> SessionResult:
        """Replay, and fetch the last of what was seen."""
        result = super().run()
        self._watch.flush()
        return result

    def _arrive(self, row: TraceRequest, cycle: int, shift_us: int) -> None:
        """Recognise the watched request when it arrives."""
        request_id = row.request_id if cycle == 0 else f"{row.request_id}#{cycle}"
        if request_id == self._watch.request_id:
            self._watch.code = self._ordinal + FIRST_OWNER
        super()._arrive(row, cycle, shift_us)

    def entered(self, request: Request, state: RequestState) -> None:
        """Note the states of the watched request."""
        if self._is_watched(request):
            rank = request.decode if state in DECODE_STATES else request.prefill
            self._watch.note_state(request, state, rank.name, self.clock.now_us)
            self._watched = request
            if rank is request.decode:
                self._in_prealloc = state == "prealloc"
        super().entered(request, state)

    def rank_changed(self, rank: Rank, iterations: int) -> None:
        """Note it when the watched request is back where it waits for pages: its room is used up."""
        request = self._watched
        if request is not None and request.decode is rank and not self._in_prealloc:
            self._in_prealloc = request.decode_state is DecodeState.PREALLOC
            if self._in_prealloc:
                self._watch.note_state(request, "prealloc", rank.name, self.clock.now_us)
        super().rank_changed(rank, iterations)

    def request_ended(self, request: Request) -> None:
        """Note where the watched request ends."""
        if self._is_watched(request):
            self._note_end(request)
        super().request_ended(request)

    def timed_out(self, request: Request, state: RequestState) -> None:
        """Note that the watched request has waited too long."""
        if self._is_watched(request):
            rank = request.decode if state in DECODE_STATES else request.prefill
            self._watch.note_state(request, f"timed out: {state}", rank.name, self.clock.now_us)
        super().timed_out(request, state)

    def _cancel(self, request: Request) -> None:
        """Note that the client went away."""
        if self._is_watched(request):
            name = request.decode.name
            self._watch.note_state(request, "client went away", name, self.clock.now_us)
        super()._cancel(request)

    def pages_read(self, request: Request, pages: int) -> None:
        """Note that decode reads the watched page, and whether it finds what it should."""
        super().pages_read(request, pages)
        pool, watch = request.decode.pool, self._watch
        if watch.pool == pool.name and request.content is not None:
            row = pool.table.read(request.decode_row, 0, pages)
            wrong = pool.storage.differences(row, request.content[:pages] ^ request.tag)
            watch.note_pages(
                pool.arrays,
                self.clock.now_us,
                pool.name,
                "read",
                row,
                pool.ledger.owners(row),
                request.ordinal + FIRST_OWNER,
                wrong,
            )

    def _is_watched(self, request: Request) -> bool:
        return request.ordinal + FIRST_OWNER == self._watch.code

    def _note_end(self, request: Request) -> None:
        now_us, has_ended = self.clock.now_us, self._ended
        if request.decode_ended and not has_ended[0]:
            has_ended[0] = True
            state = request.decode_state.value
            self._watch.note_state(request, state, request.decode.name, now_us)
        if request.prefill_ended and not has_ended[1]:
            has_ended[1] = True
            state = request.prefill_state.value
            self._watch.note_state(request, state, request.prefill.name, now_us)
