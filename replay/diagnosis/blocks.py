"""Cuts bytes into blocks of whole lines, at places that do not depend on how the bytes come."""

from __future__ import annotations

from collections.abc import Iterator

from replay.diagnosis.lines import LINE_BYTES_MAX


class BlockCutter:
    """Gathers bytes until a block is full.

    A block ends with the first line end after `block_bytes`; with 0 it has the whole lines there are.
    What a line has beyond `LINE_BYTES_MAX` need not be kept, so the memory taken is bounded.
    """

    def __init__(self, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._buffer = bytearray()
        #: The rest of the last line is not kept, and the block is full but for its line end.
        self._is_skipping = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The blocks that are full with these further bytes."""
        if self._is_skipping:
            end = data.find(b"\n")
            if end < 0:
                return
            self._is_skipping = False
            yield bytes(self._buffer) + b"\n"
            self._buffer.clear()
            data = data[end + 1 :]
        self._buffer += data
        while (end := self._block_end()) > 0:
            with memoryview(self._buffer) as view:
                block = bytes(view[:end])
            del self._buffer[:end]
            yield block
        self._bound()

    def whole_lines(self) -> bytes:
        """The whole lines of the block that is not full yet; they are not given again."""
        end = 0 if self._is_skipping else self._buffer.rfind(b"\n") + 1
        lines = bytes(self._buffer[:end])
        del self._buffer[:end]
        return lines

    def finish(self) -> bytes:
        """All that is left, a line without its end included."""
        left = bytes(self._buffer)
        self._buffer.clear()
        self._is_skipping = False
        return left

    def _block_end(self) -> int:
        """Where the first block in the buffer ends; 0 when it is not full."""
        if self._block_bytes == 0:
            return self._buffer.rfind(b"\n") + 1
        return self._buffer.find(b"\n", self._block_bytes) + 1

    def _bound(self) -> None:
        if len(self._buffer) <= max(self._block_bytes, LINE_BYTES_MAX):
            return
        start = self._buffer.rfind(b"\n") + 1
        if len(self._buffer) - start > LINE_BYTES_MAX:
            del self._buffer[start + LINE_BYTES_MAX + 1 :]
            self._is_skipping = True
