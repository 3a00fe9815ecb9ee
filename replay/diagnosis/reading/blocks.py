"""Cuts bytes into blocks of whole lines, at places that do not depend on how the bytes come."""

from __future__ import annotations

from collections.abc import Iterator

from replay.server_lines.log_line import LINE_BYTES_MAX

#: Pieces that wait to be joined.
_PARTS_MAX = 1024


class BlockCutter:
    """Gathers bytes until a block is full.

    A block ends with the first line end after `block_bytes`; with 0 it has the whole lines there are.
    What a line has beyond `LINE_BYTES_MAX` need not be kept, so the memory taken is bounded.
    """

    def __init__(self, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._parts: list[bytes] = []
        self._size = 0
        #: Bytes of the last line, which has no end yet.
        self._line_bytes = 0
        #: The rest of the last line is not kept, and the block is full but for its line end.
        self._is_skipping = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The blocks that are full with these further bytes."""
        while data:
            end = self._block_end(data)
            if end == 0:
                self._keep(data)
                return
            yield self._taken(b"\n" if self._is_skipping else data[:end])
            self._is_skipping = False
            data = data[end:]

    def whole_lines(self) -> bytes:
        """The whole lines of the block that is not full yet; they are not given again."""
        gathered = self._taken(b"")
        end = 0 if self._is_skipping else gathered.rfind(b"\n") + 1
        self._hold(gathered[end:])
        return gathered[:end]

    def finish(self) -> bytes:
        """All that is left, a line without its end included."""
        self._is_skipping = False
        return self._taken(b"")

    def _block_end(self, data: bytes) -> int:
        """Where in these bytes the block ends; 0 when it does not."""
        if self._is_skipping:
            return data.find(b"\n") + 1
        if self._block_bytes == 0:
            return data.rfind(b"\n") + 1
        return data.find(b"\n", max(self._block_bytes - self._size, 0)) + 1

    def _keep(self, data: bytes) -> None:
        if self._is_skipping:
            return
        self._hold(data)
        beyond = self._line_bytes - LINE_BYTES_MAX - 1
        if beyond > 0 and self._size > self._block_bytes:
            self._hold(self._taken(b"")[:-beyond])
            self._is_skipping = True
        elif len(self._parts) > _PARTS_MAX:
            self._hold(self._taken(b""))

    def _hold(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        after_line_end = len(data) - data.rfind(b"\n") - 1
        self._line_bytes = after_line_end + (self._line_bytes if after_line_end == len(data) else 0)

    def _taken(self, end: bytes) -> bytes:
        gathered = b"".join((*self._parts, end))
        self._parts.clear()
        self._size = self._line_bytes = 0
        return gathered
