"""Bailian request logs (alibaba-edu/qwen-bailian-usagetraces-anon, KVCache@ATC'25).

One JSON object a line, in arrival order:

    {"chat_id": 57, "parent_chat_id": 12, "timestamp": 61.114, "input_length": 268,
     "output_length": 33, "type": "text", "turn": 2, "hash_ids": [17, 18, 902, ...]}

    chat_id          this request; numbered anew in every file
    parent_chat_id   the turn before it, -1 for a first turn; may be missing from the file
    timestamp        arrival, seconds from the start of the file
    input_length     prompt tokens
    output_length    generated tokens, may be 0
    hash_ids         one id per 16 prompt tokens, the last block may be partial

The session of a request is the first turn its parents lead to. Only the last `CHATS_KEPT` requests
are remembered, so that memory does not grow with the log; where a parent is not among them (it is
left out of the log, stands later in it, or is older), the session is named by that parent, and the
request is counted as changed. Requests that share a missing parent still share a session.

An id stands for the content of its block alone in some of the files: in traces A and B one id
follows different predecessors, in the coder and thinking traces it does not. So the ids are chained
(`chain_hashes`), which is right for both. Ids and chats of different files mean
different things; import several files only if they are parts of one.

Source: README at 03a51e31 (fields, 16-token blocks, hashing block by block); AIPerf 0.13.0
`dataset/loader/bailian_trace.py` (chains of parents). That ids are counted up to the partial block
and are not of one kind comes from two other projects' full passes over the files.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from traces.formats.base import LogFormat, Sample
from traces.formats.hashes import chain_hashes, read_block_hashes
from traces.formats.reader import LogReader
from traces.formats.values import read_identity, read_time_us, read_tokens
from traces.schema import TraceRequest

#: Tokens one hash id covers.
BLOCK_SIZE = 16

#: Requests whose session is remembered for the turns that follow them: some 50 MB.
CHATS_KEPT = 2**18

_NO_PARENT = "-1"


def _matches(sample: Sample) -> bool:
    return any(
        {"chat_id", "timestamp", "input_length", "output_length"} <= row.keys()
        for row in sample.objects
    )


class _Sessions:
    """The session of each of the last `CHATS_KEPT` requests."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, str] = OrderedDict()

    def find(self, chat: str | None, parent: str | None) -> tuple[str | None, bool]:
        """Return a request's session, and whether its parent, if it has one, was found."""
        if parent is None or parent in (_NO_PARENT, chat):
            session, found = chat, True
        else:
            found = parent in self._sessions
            session = self._sessions.get(parent, parent)
        if chat is not None and session is not None and chat not in self._sessions:
            self._sessions[chat] = session
            if len(self._sessions) > CHATS_KEPT:
                self._sessions.popitem(last=False)
        return session, found


def _read(reader: LogReader) -> Iterator[TraceRequest]:
    sessions = _Sessions()

    def to_request(fields: dict[str, Any]) -> TraceRequest:
        chat = read_identity(fields.get("chat_id"))
        # Before anything can be wrong with the row: later turns may name it all the same.
        session, found = sessions.find(chat, read_identity(fields.get("parent_chat_id")))
        arrival_us = read_time_us(fields, "timestamp", 1)
        input_tokens = read_tokens(fields, "input_length")
        output_tokens = read_tokens(
            fields, "output_length", if_zero="output_length is 0: nothing was generated"
        )
        if not found:
            reader.note("parent_chat_id is not a recent request: its session starts at that parent")
        return TraceRequest(
            request_id=chat or reader.make_id("bailian"),
            arrival_us=arrival_us,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            block_hashes=chain_hashes(
                read_block_hashes(
                    reader, "hash_ids", fields.get("hash_ids"), input_tokens, BLOCK_SIZE
                )
            ),
            session_id=session,
        )

    return reader.requests(reader.json_rows(), to_request)


FORMAT = LogFormat("bailian", _matches, _read, is_wall_clock=False)
