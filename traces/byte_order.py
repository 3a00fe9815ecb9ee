"""Convert text that begins with a byte order mark to UTF-8.

PowerShell's `>` writes UTF-16 with a mark; editors on Windows write UTF-8 with one.
"""

from __future__ import annotations

import codecs

# The marks of UTF-32 begin like those of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    codecs.BOM_UTF8: "utf-8",
}
_LONGEST = max(map(len, _MARKS))


class AsUtf8:
    """Converts one text, given in chunks of any size; text without a mark passes unchanged."""

    def __init__(self) -> None:
        #: The first bytes, as long as they may be the beginning of a mark.
        self._held: bytes | None = b""
        self._decoder: codecs.IncrementalDecoder | None = None

    def feed(self, data: bytes, *, is_last: bool = False) -> bytes:
        """Return the bytes converted so far; an incomplete character waits for its other bytes.

        Invalid characters, including an incomplete one at the end, become U+FFFD.
        """
        if self._held is not None:
            data = self._held + data
            undecided = len(data) < _LONGEST and any(mark.startswith(data) for mark in _MARKS)
            if undecided and not is_last:
                self._held = data
                return b""
            self._held = None
            mark = next((mark for mark in _MARKS if data.startswith(mark)), b"")
            if mark and mark != codecs.BOM_UTF8:
                self._decoder = codecs.getincrementaldecoder(_MARKS[mark])("replace")
            data = data[len(mark) :]
        return data if self._decoder is None else self._decoder.decode(data, is_last).encode()
