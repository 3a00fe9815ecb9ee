"""BurstGPT request logs (HPMLL/BurstGPT: ChatGPT and GPT-4 on Azure).

CSV with a header, in two layouts; columns are found by their names:

    Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
    7,ChatGPT,401,22,423,Conversation log

    Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
    19440301.0,3f6c0a52-...,12,GPT-4,880,410,1290,Conversation log

    Timestamp         arrival, seconds from 0:00 of the first day; whole, though part 3 writes
                      `19440301.0`: parts 2 and 3 go on counting, so part 3 begins 225 days later
                      (the trace starts at 0 all the same)
    Session ID        conversation; blank for API requests
    Request tokens    prompt tokens
    Response tokens   generated tokens; 0 when the request failed (the files named
                      `without_fails` leave those out)
    the others        not used: a failure has no time, and nothing says that a client went away

Source: README of HPMLL/BurstGPT at e92f533b (BurstGPT_1 and _2: first layout, BurstGPT_3: second).
The range of times and the blank sessions are another project's full pass over BurstGPT_3.csv of
release v2.0. Rows have no id and become `burstgpt-<file>-<row from 0>`.
"""

from __future__ import annotations

from collections.abc import Iterator

from traces.formats.base import LogFormat, Sample
from traces.formats.reader import LogReader
from traces.formats.values import read_identity, read_time_us, read_tokens
from traces.schema import TraceRequest

_COLUMNS = {"Timestamp", "Request tokens", "Response tokens"}


def _matches(sample: Sample) -> bool:
    return set(sample.header) >= _COLUMNS


def _read(reader: LogReader) -> Iterator[TraceRequest]:
    def to_request(fields: dict[str, str]) -> TraceRequest:
        return TraceRequest(
            request_id=reader.make_id("burstgpt"),
            arrival_us=read_time_us(fields, "Timestamp", 1),
            # First, because a failed request may have no prompt tokens either.
            output_tokens=read_tokens(
                fields, "Response tokens", if_zero="Response tokens is 0: the request failed"
            ),
            input_tokens=read_tokens(fields, "Request tokens"),
            session_id=read_identity(fields.get("Session ID", "").strip()),
        )

    return reader.requests(reader.csv_rows(), to_request)


FORMAT = LogFormat("burstgpt", _matches, _read)
