"""What the transfer lines of one server mean; the counts of pages are judged elsewhere."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

from replay.diagnosis.judging.assessment import Assessment, unclear
from replay.diagnosis.judging.bounded_history import BoundedHistory
from replay.diagnosis.judging.gap_run import seconds_between
from replay.diagnosis.judging.next_steps import steps_for_load, steps_for_transfers
from replay.recording.words import counted
from replay.server_lines.records import Load, Place, Transfer, TransferTrouble

#: Expired holds that are remembered, to match late readers with them.
_REQUESTS_MAX = 20_000

#: After these a transfer is in no queue any more.
ENDED = (
    TransferTrouble.TIMED_OUT_BOOTSTRAPPING,
    TransferTrouble.TIMED_OUT_WAITING,
    TransferTrouble.ABORTED,
    TransferTrouble.FAILED,
    TransferTrouble.FAILED_ON_ANOTHER_RANK,
    TransferTrouble.HOLD_EXPIRED,
)
FAILING = (TransferTrouble.FAILED, TransferTrouble.FAILED_ON_ANOTHER_RANK)


def _differs(transfer: Transfer) -> object:
    return transfer.trouble


@dataclass(slots=True)
class TransferWatch:
    """A digest of the transfer lines of one server."""

    engine: str
    counts: Counter[TransferTrouble] = field(default_factory=Counter)
    kept: BoundedHistory[Transfer] = field(default_factory=lambda: BoundedHistory(_differs))
    latest: dict[TransferTrouble, Transfer] = field(default_factory=dict)
    #: Whose transfers a trouble was said of, as long as there are not too many.
    names: dict[TransferTrouble, set[str]] = field(default_factory=dict)
    #: Lines of a trouble that name no request, or one beyond the limit.
    nameless: Counter[TransferTrouble] = field(default_factory=Counter)
    #: Holds that ended by their timeout, by request; the oldest are forgotten.
    expired: OrderedDict[str, Transfer] = field(default_factory=OrderedDict)
    #: The first read of pages whose hold is known to have ended before.
    read_late: tuple[Transfer, Transfer] | None = None
    #: Lines in a row that say of one request that it still waits.
    waiting_lines: int = 0
    waiting_first: Transfer | None = None

    def add(self, transfer: Transfer) -> None:
        """Take the next line."""
        trouble = transfer.trouble
        self.counts[trouble] += 1
        self.kept.add(transfer)
        self.latest[trouble] = transfer
        name = transfer.request_id or transfer.room
        self._note_name(trouble, transfer.room or transfer.request_id)
        if trouble is TransferTrouble.HOLD_EXPIRED and name:
            self.expired[name] = transfer
            if len(self.expired) > _REQUESTS_MAX:
                self.expired.popitem(last=False)
        elif trouble is TransferTrouble.READ_AFTER_RELEASE and self.read_late is None:
            before = self.expired.get(name)
            self.read_late = None if before is None else (before, transfer)
        elif trouble is TransferTrouble.STILL_WAITING:
            if self.waiting_first is None:
                self.waiting_first = transfer
            self.waiting_lines += 1

    def _note_name(self, trouble: TransferTrouble, name: str) -> None:
        names = self.names.setdefault(trouble, set())
        if not name or (name not in names and len(names) >= _REQUESTS_MAX):
            self.nameless[trouble] += 1
        else:
            names.add(name)

    def note_load(self, load: Load) -> None:
        """A line without waiting requests ends a wait that was reported before."""
        if load.queued == 0 and not load.transferring and not load.prealloc:
            self.waiting_first = None
            self.waiting_lines = 0

    def transfers_with(self, troubles: Collection[TransferTrouble]) -> int:
        """How many transfers had one of these troubles: each rank has a line of its own."""
        names: set[str] = set()
        for trouble in troubles:
            names |= self.names.get(trouble, set())
        return len(names) + sum(self.nameless[trouble] for trouble in troubles)

    @property
    def last_trouble(self) -> Transfer | None:
        """The last line of something that went wrong; a hold alone is as it should be."""
        wrong = [each for kind, each in self.latest.items() if kind is not TransferTrouble.HELD]
        return max(wrong, key=lambda each: each.place.line, default=None)


#: From here on a transfer that still waits is lost: the longest timeout that engines set by default.
_WAITS_S_MAX = 600.0


def judge_transfers(watch: TransferWatch, well_again: Place | None) -> Assessment | None:
    """The worst that the transfer lines say, or None when they say nothing to worry about.

    `well_again` is where the server was seen without transfers after all of them, if nothing else
    is wrong with it.
    """
    return (
        _read_late(watch)
        or _healed(watch, well_again)
        or _timed_out(watch)
        or _still_waiting(watch)
        or _failed(watch)
        or _expired(watch)
        or _unknown(watch)
        or _starved(watch)
    )


def _read_late(watch: TransferWatch) -> Assessment | None:
    last = watch.latest.get(TransferTrouble.READ_AFTER_RELEASE)
    if last is None:
        return None
    count = watch.counts[TransferTrouble.READ_AFTER_RELEASE]
    if watch.read_late is not None:
        held, read = watch.read_late
        return Assessment(
            verdict="persistent",
            kind="premature-free",
            why=f"{watch.engine}: {_name(read)} was read at line {read.place.line} after its hold "
            f"had timed out at line {held.place.line}: the reader may have got another request's "
            "bytes, and page counts do not show that",
            next=(
                "raise the timeout of holds above the longest time that decode requests are queued",
            ),
        )
    return unclear(
        "premature-free",
        f"{watch.engine}: pages of {_name(last)} were read when they were no longer held "
        f"({counted(count, 'line')}): counts balance, contents may be wrong",
        (
            "look for the request in the log of the other side, and for the line that released "
            "its pages: a release by timeout before the read makes the answer wrong",
            *steps_for_transfers(watch.engine),
        ),
        "none",
    )


def _healed(watch: TransferWatch, well_again: Place | None) -> Assessment | None:
    """Transfers that went wrong and left nothing behind."""
    last = watch.last_trouble
    if well_again is None or last is None:
        return None
    return Assessment(
        verdict="transient",
        kind="held",
        why=f"{watch.engine}: {counted(watch.kept.total, 'line')} about transfers that went wrong, "
        f"the last at line {last.place.line} ({last.reason}); at line {well_again.line} nothing is "
        "in transfer and no more is in use than before",
    )


def _timed_out(watch: TransferWatch) -> Assessment | None:
    troubles = (TransferTrouble.TIMED_OUT_WAITING, TransferTrouble.TIMED_OUT_BOOTSTRAPPING)
    found = [watch.latest[each] for each in troubles if each in watch.latest]
    if not found:
        return None
    count = watch.transfers_with(troubles)
    last = max(found, key=lambda each: each.place.line)
    after = "" if last.timeout_s is None else f" after {last.timeout_s:.0f} s"
    return unclear(
        "hang",
        f"{watch.engine}: {counted(count, 'transfer')} timed out{after} ({last.reason}), the "
        f"last at line {last.place.line}; these lines do not show whether the pages were freed",
        steps_for_transfers(watch.engine),
    )


def _still_waiting(watch: TransferWatch) -> Assessment | None:
    first = watch.waiting_first
    last = watch.latest.get(TransferTrouble.STILL_WAITING)
    if last is None:
        return None
    if first is None:
        return Assessment(
            verdict="transient",
            kind="held",
            why=f"{watch.engine}: {_name(last)} waited for its KV; no request waits any more",
        )
    lasted_s = seconds_between(first.place, last.place)
    lost = lasted_s is not None and lasted_s > _WAITS_S_MAX
    told = "" if lasted_s is None else f" after {lasted_s:.0f} s"
    return Assessment(
        verdict="persistent" if lost else "inconclusive",
        kind="hang",
        growth="unknown",
        why=f"{watch.engine}: {_name(last)} still waits for its KV{told}"
        + (", longer than any timeout" if lost else "; a slow transfer would look the same"),
        next=() if lost else steps_for_transfers(watch.engine),
    )


def _failed(watch: TransferWatch) -> Assessment | None:
    found = [watch.latest[each] for each in FAILING if each in watch.latest]
    aborted = watch.latest.get(TransferTrouble.ABORTED)
    if found:
        count = watch.transfers_with(FAILING)
        last = max(found, key=lambda each: each.place.line)
        told = f"failed ({last.reason})"
        unknown = "whether the client was told and the pages were freed"
    elif aborted is not None:
        count = watch.transfers_with((TransferTrouble.ABORTED,))
        told, unknown = "aborted", "whether the pages were freed"
    else:
        return None
    why = f"{watch.engine}: {counted(count, 'transfer')} {told}; these lines do not show {unknown}"
    return unclear("hang", why, steps_for_transfers(watch.engine), "none")


def _expired(watch: TransferWatch) -> Assessment | None:
    last = watch.latest.get(TransferTrouble.HOLD_EXPIRED)
    if last is None:
        return None
    count = watch.transfers_with((TransferTrouble.HOLD_EXPIRED,))
    after = "" if last.timeout_s is None else f" after {last.timeout_s:.0f} s"
    return unclear(
        "held",
        f"{watch.engine}: {counted(count, 'hold')} timed out{after}, the last for "
        f"{_name(last)}: its pages returned to the pool, so a late reader gets another request's "
        "bytes, and these lines do not show whether there was one",
        (
            "search the other side's log for the request: did it read, and when?",
            *steps_for_transfers(watch.engine),
        ),
    )


def _unknown(watch: TransferWatch) -> Assessment | None:
    """Completions without a hold: it had ended before."""
    last = watch.latest.get(TransferTrouble.UNKNOWN_REQUEST)
    if last is None:
        return None
    count = watch.transfers_with((TransferTrouble.UNKNOWN_REQUEST,))
    return unclear(
        "premature-free",
        f"{watch.engine}: {counted(count, 'completion')} arrived for requests that are no longer held, "
        f"the last for {_name(last)} at line {last.place.line}: pages freed before they were "
        "read hold another request's bytes, and page counts do not show that",
        (
            "look for the line that released the pages: a release by timeout before this line means "
            "that the read was late",
            *steps_for_transfers(watch.engine),
        ),
        "none",
    )


def _starved(watch: TransferWatch) -> Assessment | None:
    last = watch.latest.get(TransferTrouble.STARVED)
    if last is None:
        return None
    return unclear(
        "pressure",
        f"{watch.engine}: {counted(watch.counts[TransferTrouble.STARVED], 'allocation')} found "
        "no free pages: the pool is full, of pages in use or of pages that were never freed",
        steps_for_load(watch.engine),
    )


def _name(transfer: Transfer) -> str:
    if transfer.request_id:
        return f"request {transfer.request_id}"
    return f"room {transfer.room}" if transfer.room else "a request"
