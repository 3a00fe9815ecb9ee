"""Azure LLM inference traces, 2023 and 2024 (AzurePublicDataset), for code and conversation.

CSV with a header, times on a wall clock:

    TIMESTAMP,ContextTokens,GeneratedTokens
    2023-11-16 18:15:46.6805900,374,44

    TIMESTAMP        arrival: UTC, seven fractional digits in 2023 (100 ns; cut to microseconds);
                     2024 writes six and an offset (`2024-05-10 00:00:00.009930+00:00`)
    ContextTokens    prompt tokens
    GeneratedTokens  generated tokens; 0 when nothing was generated

Source: the README files of AzurePublicDataset; checked on the 19,366 rows of the 2023 conversation
trace, whose last row has no line end. Rows have no id and become `azure-<file>-<row from 0>`.
"""

from __future__ import annotations

from collections.abc import Iterator

from traces.formats.base import LogFormat, Sample
from traces.formats.reader import LogReader
from traces.formats.values import read_date_time_us, read_tokens
from traces.schema import TraceRequest

_COLUMNS = {"TIMESTAMP", "ContextTokens", "GeneratedTokens"}


def _matches(sample: Sample) -> bool:
    return set(sample.header) >= _COLUMNS


def _read(reader: LogReader) -> Iterator[TraceRequest]:
    def to_request(fields: dict[str, str]) -> TraceRequest:
        return TraceRequest(
            request_id=reader.make_id("azure"),
            arrival_us=read_date_time_us(fields, "TIMESTAMP"),
            input_tokens=read_tokens(fields, "ContextTokens"),
            output_tokens=read_tokens(
                fields, "GeneratedTokens", if_zero="GeneratedTokens is 0: nothing was generated"
            ),
        )

    return reader.requests(reader.csv_rows(), to_request)


FORMAT = LogFormat("azure", _matches, _read)
