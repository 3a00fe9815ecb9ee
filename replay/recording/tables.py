"""The tables of a recording: columns, types and schema versions.

Times are virtual microseconds; counts in `audits` are tokens, counts elsewhere are pages.
"""

from __future__ import annotations

import pyarrow as pa

RUN_SCHEMA = "kvreplay.run/2"
#: Schemas of recordings that this version reads: the first has events with a text for a result.
RUN_SCHEMAS_READ = ("kvreplay.run/1", RUN_SCHEMA)
SUMMARY_SCHEMA = "kvreplay.summary/1"

#: The owner of pages that no request explains, in owners.parquet.
NOBODY_NAME = "(nobody)"

_WORD = pa.dictionary(pa.int16(), pa.string())

AUDITS_SCHEMA = pa.schema(
    {
        "audit": pa.int64(),
        "time_us": pa.int64(),
        "pool": _WORD,
        "phase": _WORD,
        "available": pa.int64(),
        "evictable": pa.int64(),
        "protected": pa.int64(),
        "live": pa.int64(),
        "in_transfer": pa.int64(),
        "gap": pa.int64(),
        "quiet": pa.bool_(),
        "iterations": pa.int64(),
        "engine_check": _WORD,
    }
)

EVENTS_SCHEMA = pa.schema(
    {
        "event": pa.int64(),
        "copy": pa.int32(),
        "request_id": pa.string(),
        "direction": _WORD,
        "pool": _WORD,
        "bootstrap_room": pa.int64(),
        "prefill_tp_rank": pa.int32(),
        "decode_tp_rank": pa.int32(),
        "pages": pa.int32(),
        "sent_us": pa.int64(),
        "due_us": pa.int64(),
        "delivered_us": pa.int64(),
        "failed": pa.bool_(),
        "fault": pa.string(),
        "rule": pa.string(),
        # As in `replay.recording.kinds.Outcome`, and what says more of it.
        "outcome": _WORD,
        "detail": _WORD,
        # Whether what rules did to it made a difference that an engine could see.
        "observed": pa.bool_(),
    }
)

OWNERS_SCHEMA = pa.schema(
    {
        "pool": _WORD,
        "request_id": pa.string(),
        "share": _WORD,
        "pages": pa.int64(),
        "ledger_pages": pa.int64(),
        "state": _WORD,
        "opened_audit": pa.int64(),
        "opened_us": pa.int64(),
        "closed_audit": pa.int64(),
        "closed_us": pa.int64(),
        "ended_by": pa.string(),
        "can_progress": pa.bool_(),
    }
)

REQUESTS_SCHEMA = pa.schema(
    {
        "request_id": pa.string(),
        "cycle": pa.int32(),
        "bootstrap_room": pa.int64(),
        "prefill_pool": _WORD,
        "decode_pool": _WORD,
        "input_tokens": pa.int32(),
        "output_tokens": pa.int32(),
        "prompt_pages": pa.int32(),
        # Found in the prefix cache.
        "prefix_pages": pa.int32(),
        "prefill_state": _WORD,
        "decode_state": _WORD,
        "arrival_us": pa.int64(),
        # Decode began to wait for pages, and got them.
        "prealloc_us": pa.int64(),
        "preallocated_us": pa.int64(),
        # Prefill took it up for a batch, and began to compute.
        "prefill_waiting_us": pa.int64(),
        "prefill_start_us": pa.int64(),
        # Prefill has computed the prompt, or stopped computing it, and holds what there is.
        "in_flight_us": pa.int64(),
        "transfer_start_us": pa.int64(),
        "landed_us": pa.int64(),
        "consumed_us": pa.int64(),
        "running_us": pa.int64(),
        # Decode gave the transfer up; its pages may be held longer, until nobody writes them.
        "gave_up_us": pa.int64(),
        # Decode was done with it, then prefill.
        "ended_us": pa.int64(),
        "prefill_ended_us": pa.int64(),
    }
)

CONTENTS_SCHEMA = pa.schema(
    {
        "time_us": pa.int64(),
        "pool": _WORD,
        "request_id": pa.string(),
        "pages": pa.int64(),
        "wrong_pages": pa.int64(),
        "wrong_first_token": pa.bool_(),
        "kind": _WORD,
        "first_page": pa.int64(),
        "event": pa.int64(),
        "why": pa.string(),
    }
)

EPISODES_SCHEMA = pa.schema(
    {
        "episode": pa.int32(),
        "pool": _WORD,
        "direction": _WORD,
        "verdict": _WORD,
        "growth": _WORD,
        "kinds": pa.string(),
        "opened_audit": pa.int64(),
        "opened_us": pa.int64(),
        "closed_audit": pa.int64(),
        "closed_us": pa.int64(),
        "widest_audit": pa.int64(),
        "gap_tokens": pa.int64(),
        "quiet_gap_tokens": pa.int64(),
        "owners": pa.int32(),
        "causes": pa.list_(pa.int64()),
        "blame": pa.string(),
    }
)

#: The map of one pool at one audit, from its first page to its last: stretches of equal pages.
PAGES_SCHEMA = pa.schema(
    {
        "pool": _WORD,
        "audit": pa.int64(),
        "first_page": pa.int64(),
        "pages": pa.int64(),
        # As in `replay.recording.kinds.PageState`.
        "state": _WORD,
        # Whose, where the pages are in the gap or are counted twice; null elsewhere.
        "request_id": pa.string(),
        # Who else holds them.
        "other_request_id": pa.string(),
        # How often each is free, and how many hold it; one of them is 1 where all is well.
        "listed": pa.int32(),
        "holders": pa.int32(),
    }
)

#: What a replay writes while it runs; the episodes are found afterwards.
TABLES = {
    "audits": AUDITS_SCHEMA,
    "events": EVENTS_SCHEMA,
    "owners": OWNERS_SCHEMA,
    "requests": REQUESTS_SCHEMA,
    "contents": CONTENTS_SCHEMA,
    "pages": PAGES_SCHEMA,
}
#: Columns of recordings of earlier versions that have given way to others.
OLD_COLUMNS = frozenset({"result"})
#: Columns that recordings of earlier versions do not have, by table; reading one gives nulls there.
COLUMNS_ADDED_LATER: dict[str, frozenset[str]] = {}
#: Tables that recordings of earlier versions do not have, and that no verdict needs.
ADDED_LATER = frozenset({"pages"})
