"""Bytes of a text as UTF-8, whatever the byte order mark at its beginning says they are.

PowerShell's `>` writes UTF-16 with a mark, editors on Windows UTF-8 with one.
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
    """Takes the bytes of one text in pieces, cut anywhere; those without a mark pass as they are."""

    def __init__(self) -> None:
        #: The beginning, as long as it may still become a mark.
        self._held: bytes | None = b""
        self._decoder: codecs.IncrementalDecoder | None = None

    def feed(self, data: bytes, *, is_last: bool = False) -> bytes:
        """The bytes so far that were not given yet; half a character waits for its other half.

        What is no character, also half of one at the end, becomes U+FFFD.
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
