"""What recordings of earlier versions lack, made from what they have when they are read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa

from replay.recording.event_results import split_results
from replay.recording.tables import COLUMNS_ADDED_LATER, TABLES

_RESULT = {"outcome": "result", "detail": "result"}
#: Column of requests.parquet -> what stands for it in recordings with the schema kvreplay.run/1, where
#: decode allocates before prefill, and after it. A prompt was computed when its first bytes moved, or a
#: chunk or a message before.
_EARLY = {
    "prealloc_us": "arrival_us",
    "prefill_waiting_us": "preallocated_us",
    "in_flight_us": "transfer_start_us",
}
_LATE = {
    "prealloc_us": "preallocated_us",
    "prefill_waiting_us": "arrival_us",
    "in_flight_us": "transfer_start_us",
}


class OlderTable:
    """One table of a recording that may be of an earlier version."""

    def __init__(self, name: str, decode_allocates: object, stored: Collection[str]) -> None:
        """Take the columns that it has, and what its profile says of decode."""
        late = decode_allocates == "after-prefill"
        made_of = {"events": _RESULT, "requests": _LATE if late else _EARLY}.get(name, {})
        self._made_of = {name: source for name, source in made_of.items() if name not in stored}
        added = COLUMNS_ADDED_LATER.get(name, frozenset())
        self._nulls = {each: TABLES[name].field(each).type for each in added - set(stored)}

    def columns_to_read(self, wanted: Sequence[str]) -> list[str]:
        """The columns to read where these are wanted."""
        sources = (self._made_of.get(name, name) for name in wanted if name not in self._nulls)
        return list(dict.fromkeys(sources))

    def complete(self, rows: Any, wanted: Sequence[str]) -> Any:
        """Some rows of it with these columns, of which some may have to be made.

        Raises:
            ValueError: the result of an event is none.
        """
        for name, source in self._made_of.items():
            if name in wanted and source in rows.schema.names:
                values = rows[source]
                if source == "result":
                    values = split_results(values)[name == "detail"]
                rows = rows.append_column(name, values)
        for name, kind in self._nulls.items():
            if name in wanted:
                rows = rows.append_column(name, pa.nulls(rows.num_rows, kind))
        is_split = "outcome" in self._made_of and "result" in rows.schema.names
        return rows.drop_columns(["result"]) if is_split else rows
