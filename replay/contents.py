"""The content oracle: whether decode reads the bytes that prefill computed for it.

No counter sees a page that was overwritten or never filled. Each read is compared on the device and
leaves one number there; the numbers are fetched together, so that reads never wait for the device.
"""

from __future__ import annotations

from replay.engine.request import Request
from replay.pool.arrays import Array, Arrays
from replay.recorder import RecordingWriter

#: Reads kept on the device before they are fetched: the bound on the queue.
_PENDING_READS_MAX = 2048


class ContentOracle:
    """Compares page contents with what each request should find, and records what is wrong."""

    def __init__(self, recorder: RecordingWriter, arrays: Arrays) -> None:
        self._arrays = arrays
        self._recorder = recorder
        self._pending: list[tuple[int, str, str, int, Array]] = []
        self.wrong_reads = 0
        self.wrong_pages = 0

    def check(self, request: Request, pages: int, time_us: int) -> None:
        """Compare the first `pages` pages of a request on the decode side."""
        pool = request.decode.pool
        assert request.content is not None
        wrong = pool.storage.count_mismatches(
            pool.table.read(request.decode_row, 0, pages), request.content[:pages] ^ request.tag
        )
        self._pending.append((time_us, request.decode.name, request.request_id, pages, wrong))
        if len(self._pending) >= _PENDING_READS_MAX:
            self.flush()

    def flush(self) -> None:
        """Fetch the outstanding comparisons from the device and write down the wrong ones."""
        if not self._pending:
            return
        counts = self._arrays.to_list([read[-1] for read in self._pending])
        for (time_us, pool, request_id, pages, _), wrong in zip(self._pending, counts, strict=True):
            if wrong:
                self.wrong_reads += 1
                self.wrong_pages += wrong
                self._recorder.content((time_us, pool, request_id, pages, wrong))
        self._pending = []
