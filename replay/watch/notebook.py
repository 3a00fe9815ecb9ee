"""An observer that writes down what it sees of one request or one page, for explanations.

The ledgers and the page contents of the pair's pools are put under watch by classes that note what
passes and then do what they always do. An ordinary replay has none of this. Page operations are noted
as arrays on the pool's device and fetched many at a time, so that watching does not make a replay wait
for its device at every operation.
"""

from __future__ import annotations

import torch

from faults.events import DECODE_STATES, Direction, RequestState
from replay.pair.clock import Clock
from replay.pair.deployment import Deployment
from replay.pair.request import DecodeState, Rank, Request
from replay.pool.arrays import Array, Arrays
from replay.pool.ledger import PageLedger
from replay.pool.storage import KvStorage, ordinal_of_writer
from replay.recording.owner_codes import CACHE, FIRST_OWNER, FREE
from replay.recording.sightings import PageAction, PageSighting, StateSighting, Watch
from replay.watch.base import Observer

#: Page operations kept on the device before they are fetched: the bound on the queue.
_PENDING_MAX = 256


class Notebook(Observer):
    """Notes what happens to one request or one page."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        #: The owner code of the watched request, once it has arrived.
        self.code: int | None = None
        self.states: list[StateSighting] = []
        self.pages: list[PageSighting] = []
        self._clock: Clock
        self._sequence = 0
        self._pending: list[tuple[PageSighting, Array, Array, Array, Array | None]] = []
        self._watched: Request | None = None
        #: Whether its end was seen, on the decode and on the prefill side.
        self._ended = [False, False]
        #: Whether it was last seen waiting for pages on the decode side.
        self._in_prealloc = False

    # What it watches for.

    def begin(self, pair: Deployment) -> None:
        """Put the pools under watch."""
        self._clock = pair.clock
        pools = [rank.pool for rank in pair.ranks()]
        for pool in pools:
            pool.ledger = WatchedLedger(pool.ledger, pool.name, pair.clock, self)
        if self.watch.pool is not None:
            ledger_of: dict[str, PageLedger] = {pool.name: pool.ledger for pool in pools}
            for pool in pools:
                storage = WatchedStorage(pool.storage, pool.name, pair.clock, self)
                storage.connect(ledger_of)
                pool.storage = storage

    def replay_ended(self) -> None:
        """Fetch the last of what was seen."""
        self.flush()

    def request_arrived(self, request: Request) -> None:
        """Recognise the watched request when it arrives."""
        if request.request_id == self.watch.request_id:
            self.code = request.ordinal + FIRST_OWNER
            self._watched = request

    def state_entered(self, request: Request, state: RequestState) -> None:
        """Note the states of the watched request."""
        if request is self._watched:
            self._note(request, state, _side_of(state))
            if _side_of(state) == "decode":
                self._in_prealloc = state == "prealloc"

    def accounting_changed(self, rank: Rank, iterations: int) -> None:
        """Note it when the watched request is back where it waits for pages: its room is used up."""
        request = self._watched
        if request is not None and request.decode is rank and not self._in_prealloc:
            self._in_prealloc = request.decode_state is DecodeState.PREALLOC
            if self._in_prealloc:
                self._note(request, "prealloc", "decode")

    def request_ended(self, request: Request) -> None:
        """Note where the watched request ends."""
        if request is not self._watched:
            return
        if request.decode_ended and not self._ended[0]:
            self._ended[0] = True
            self._note(request, request.decode_state.value, "decode")
        if request.prefill_ended and not self._ended[1]:
            self._ended[1] = True
            self._note(request, request.prefill_state.value, "prefill")

    def wait_timed_out(self, request: Request, state: RequestState) -> None:
        """Note that the watched request has waited too long."""
        if request is self._watched:
            self._note(request, f"timed out: {state}", _side_of(state))

    def client_left(self, request: Request) -> None:
        """Note that the client went away."""
        if request is self._watched:
            self._note(request, "client went away", "decode")

    def pages_read(self, request: Request, pages: int) -> None:
        """Note that decode reads the watched page, and whether it finds what it should."""
        pool = request.decode.pool
        if self.watch.pool == pool.name and request.content is not None:
            row = pool.table.read(request.decode_row, 0, pages)
            wrong = pool.storage.differences(row, request.content[:pages] ^ request.tag)
            self.note_pages(
                pool.arrays,
                self._clock.now_us,
                pool.name,
                "read",
                row,
                pool.ledger.owners(row),
                request.ordinal + FIRST_OWNER,
                wrong,
            )

    # What it writes.

    def _note(self, request: Request, state: str, side: Direction) -> None:
        """The watched request is seen in another state."""
        pool = request.rank_on(side).name
        self.states.append(
            StateSighting(self._next(), self._clock.now_us, pool, request.request_id, state)
        )

    def note_pages(
        self,
        arrays: Arrays,
        time_us: int,
        pool: str,
        action: PageAction,
        pages: Array,
        holders: Array,
        by: Array | int,
        wrong: Array | None = None,
    ) -> None:
        """Pages (int64 [n]) are touched: keep those that the watch is about.

        `holders` is int32 [n], `by` as long or one owner code, `wrong` not zero where a page that is
        read holds other bytes than it should.
        """
        mask = self._mask(action, pool, pages, holders, by)
        if mask is None:
            return
        seen = pages * mask
        if arrays.is_known_zero(arrays.count_nonzero(seen)):
            return
        owners = holders * 0 + by
        sighting = PageSighting(self._next(), time_us, pool, action, (), (), ())
        self._pending.append((sighting, seen, holders, owners, wrong))
        if len(self._pending) >= _PENDING_MAX:
            self.flush()

    def flush(self) -> None:
        """Fetch what is still on the device."""
        for sighting, seen, holders, owners, wrong in self._pending:
            numbers = _to_list(seen)
            at = [place for place, number in enumerate(numbers) if number]
            if not at:
                continue
            held_by, by = _to_list(holders), _to_list(owners)
            differing = [0] * len(numbers) if wrong is None else _to_list(wrong)
            self.pages.append(
                sighting._replace(
                    pages=tuple(numbers[place] for place in at),
                    holders=tuple(held_by[place] for place in at),
                    by=tuple(by[place] for place in at),
                    is_wrong=any(differing[place] for place in at),
                )
            )
        self._pending.clear()

    def _mask(
        self, action: PageAction, pool: str, pages: Array, holders: Array, by: Array | int
    ) -> Array | None:
        """Which of the pages are of interest; None when none can be."""
        if self.watch.request_id is None:
            return pages == self.watch.page if pool == self.watch.pool else None
        if self.code is None:
            return None
        if isinstance(by, int):
            if by != self.code:
                return holders == self.code
            if action == "stray-write":
                return holders != self.code
            if action == "stray-read":
                return (holders != self.code) & (holders != CACHE)
            return pages != 0
        return (by == self.code) | (holders == self.code)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


class WatchedLedger(PageLedger):
    """A ledger in the place of another, with the same owners in it."""

    def __init__(self, inner: PageLedger, pool: str, clock: Clock, notebook: Notebook) -> None:
        vars(self).update(vars(inner))
        self._pool, self._clock, self._notebook = pool, clock, notebook

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
        if self._notebook.watch.request_id is not None:
            self._note("stray-write", pages, owner)
        super().note_write(pages, owner)

    def note_read(self, pages: Array, owner: int) -> None:
        """Note a transfer that may read pages of others."""
        self._note("stray-read", pages, owner)
        super().note_read(pages, owner)

    def _note(self, action: PageAction, pages: Array, by: Array | int) -> None:
        holders = self.owners(pages)
        self._notebook.note_pages(
            self._arrays, self._clock.now_us, self._pool, action, pages, holders, by
        )


class WatchedStorage(KvStorage):
    """Page contents in the place of others, the same ones."""

    def __init__(self, inner: KvStorage, pool: str, clock: Clock, notebook: Notebook) -> None:
        vars(self).update(vars(inner))
        self._pool, self._clock, self._notebook = pool, clock, notebook
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
        self._notebook.note_pages(
            self._arrays, self._clock.now_us, pool, action, pages, holders, by
        )


def _side_of(state: RequestState) -> Direction:
    return "decode" if state in DECODE_STATES else "prefill"


def _to_list(values: Array) -> list[int]:
    """An array on the host. Waits for the device."""
    numbers: list[int] = torch.as_tensor(values).cpu().tolist()
    return numbers
