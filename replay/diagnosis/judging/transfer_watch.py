"""What the lines of one server say of its transfers, in bounded memory."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

from replay.diagnosis.judging.kept import Kept
from replay.server_lines.records import Load, Transfer, TransferTrouble

#: Requests whose holds are remembered, to match a late reader with them.
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
    kept: Kept[Transfer] = field(default_factory=lambda: Kept(_differs))
    latest: dict[TransferTrouble, Transfer] = field(default_factory=dict)
    #: Whose transfers a trouble was said of, as long as there are not too many.
    names: dict[TransferTrouble, set[str]] = field(default_factory=dict)
    #: Lines of a trouble that name nobody, or nobody that is remembered.
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
        """A line that shows nobody waiting ends what was said of waiting requests."""
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
