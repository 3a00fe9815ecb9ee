"""The content oracle: whether decode reads the bytes that prefill computed for it.

No counter sees a page that was overwritten or never filled. Each read is compared on the device and
leaves four numbers there (how many pages are wrong; the first of them, who brought it, and who owns
it); they are fetched together, so that reads never wait for the device. A wrong read is one of

    premature-free   the page had gone to somebody else: it has another owner by now, or the prompt's
                     page had when the transfer read it
    stale-write      its stamp is of another request, attempt or position: a transfer that decode had
                     given up wrote there, or its own bytes had not landed yet
"""

from __future__ import annotations

from dataclasses import dataclass

from replay.pair.clock import Clock
from replay.pair.deployment import Deployment
from replay.pair.request import Request, TransferState
from replay.pool.arrays import Array, Arrays
from replay.pool.storage import NO_WRITER
from replay.recording.owner_codes import FIRST_OWNER
from replay.recording.writer import RecordingWriter
from replay.watch.base import Observer

#: Reads kept on the device before they are fetched: the bound on the queue.
_PENDING_READS_MAX = 2048


@dataclass(frozen=True, slots=True)
class _Read:
    """One read as the host knows it; what the device knows follows in four scalars."""

    time_us: int
    pool: str
    request_id: str
    pages: int
    owner: int
    writer: int
    has_landed: bool
    completed_by_event: int
    released_early: bool
    released_by_event: int
    freed_again_by_event: int


class ContentOracle(Observer):
    """Compares page contents with what each request should find, and records what is wrong.

    `strays` is the link's list of transfers that landed after decode had let go of their pages, by
    writer: the request and the number of its event.
    """

    def __init__(
        self, recorder: RecordingWriter, arrays: Arrays, strays: dict[int, tuple[str, int]]
    ) -> None:
        self._arrays = arrays
        self._recorder = recorder
        self._strays = strays
        self._clock: Clock
        self._pending: list[tuple[_Read, Array, Array, Array, Array]] = []

    def begin(self, pair: Deployment) -> None:
        """Know the time."""
        self._clock = pair.clock

    def phase_ended(self, phase: str) -> None:
        """Write down what was wrong until now."""
        self.flush()

    def replay_ended(self) -> None:
        """Write down what was wrong after the last phase."""
        self.flush()

    def pages_read(self, request: Request, pages: int) -> None:
        """Compare the first `pages` pages of a request on the decode side."""
        pool, arrays = request.decode.pool, self._arrays
        if request.content is None:
            # Decode was told so before prefill had even begun.
            request.prefill.make_content(request)
        assert request.content is not None
        row = pool.table.read(request.decode_row, 0, pages)
        differences = pool.storage.differences(row, request.content[:pages] ^ request.tag)
        wrong = arrays.count_nonzero(differences)
        if arrays.is_known_zero(wrong):
            return
        first = arrays.gather(row, arrays.first_nonzero(differences))
        writer, owner = pool.storage.writers(first), pool.ledger.owners(first)
        read = _Read(
            self._clock.now_us,
            request.decode.name,
            request.request_id,
            pages,
            request.ordinal + FIRST_OWNER,
            request.writer,
            request.transfer_state is TransferState.LANDED,
            request.completed_by_event,
            request.released_early,
            request.released_by_event,
            request.prefill.inflight.freed_again_by_event,
        )
        self._pending.append((read, wrong, first[0], writer[0], owner[0]))
        if len(self._pending) >= _PENDING_READS_MAX:
            self.flush()

    def wrong_first_token(self, request: Request, stamp: int) -> None:
        """Record that a first token came from a slot that a stranger has written, or nobody."""
        stray = self._strays.get(stamp)
        if stray is None:
            event, why = request.completed_by_event, "its completion came before its metadata"
        else:
            event, why = stray[1], f"{stray[0]} wrote its first-token buffer after giving it back"
        row = (request.decode.name, request.request_id, 0, 0, True, "stale-write", None)
        self._recorder.content((self._clock.now_us, *row, event if event >= 0 else None, why))

    def flush(self) -> None:
        """Fetch the outstanding comparisons from the device and write down the wrong ones."""
        if not self._pending:
            return
        numbers = [
            self._arrays.to_list([read[at] for read in self._pending]) for at in (1, 2, 3, 4)
        ]
        for (read, *_), wrong, page, writer, owner in zip(self._pending, *numbers, strict=True):
            if wrong:
                kind, event, why = self._explain(read, writer, owner)
                row = (read.time_us, read.pool, read.request_id, read.pages, wrong, False)
                self._recorder.content((*row, kind, page, event if event >= 0 else None, why))
        self._pending = []

    def _explain(self, read: _Read, writer: int, owner: int) -> tuple[str, int, str]:
        """(kind, the event that did it or -1, why) of a read whose first wrong page is known."""
        if owner != read.owner:
            return "premature-free", -1, "its page had been released and belongs to somebody else"
        if not read.has_landed:
            return "stale-write", read.completed_by_event, "it was read before its bytes landed"
        if writer in self._strays and writer != read.writer:
            request_id, event = self._strays[writer]
            return (
                "stale-write",
                event,
                f"{request_id} wrote it after decode had released its pages",
            )
        if writer == read.writer and not read.released_early:
            why = "prefill had given its page to somebody else as well when the transfer read it"
            return "premature-free", read.freed_again_by_event, why
        if writer == read.writer:
            why = "prefill had released its page before the transfer read it"
            return "premature-free", read.released_by_event, why
        if writer == NO_WRITER:
            return "stale-write", read.completed_by_event, "no transfer has filled it"
        return "stale-write", read.completed_by_event, "another attempt or request filled it"
