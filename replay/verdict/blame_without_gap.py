"""One plain sentence for what no count shows: wrong bytes or owners, requests that never end, crashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from replay.recording.event_results import CRASHED, has_crashed
from replay.recording.events import EventFact, read_events
from replay.recording.reader import Recording
from replay.recording.words import seconds, what_happened
from replay.verdict.oracles import DECODE_ENDED, PREFILL_ENDED
from traces.text import shortened

#: Of an id, in a sentence.
_ID_CHARACTERS_MAX = 200


def blame_wrong_contents(recording: Recording) -> str:
    """One sentence about the first read of other bytes than the reader's own; empty for none."""
    rows = recording.table("contents")
    wrong = rows.filter(pc.or_(pc.greater(rows["wrong_pages"], 0), rows["wrong_first_token"]))
    if not wrong.num_rows:
        return ""
    order = [(name, "ascending") for name in ("time_us", "pool", "request_id")]
    order += [("wrong_pages", "descending"), ("pages", "descending")]
    return wrong_read_words(wrong.sort_by(order).slice(0, 1).to_pylist()[0])


def wrong_read_words(first: dict[str, Any]) -> str:
    """One sentence about a row of contents.parquet."""
    what = (
        "a first token that was not its own"
        if first["wrong_first_token"]
        else f"{first['wrong_pages']} of {first['pages']} pages that held other bytes"
    )
    event = "" if first["event"] is None else f" (event {first['event']})"
    return (
        f"at {seconds(first['time_us'])} {shortened(first['request_id'], _ID_CHARACTERS_MAX)} read {what} on {first['pool']}: "
        f"{first['why']}{event}"
    )


def blame_wrong_owners(recording: Recording) -> str:
    """One sentence about pages that were not their owner's, of which the ledger only has the number.

    It names the first event that a fault touched and an engine could see, as the likeliest.
    """
    touched: list[tuple[int, int, str]] = []
    for batch in recording.batches("events", ("event", "sent_us", "request_id", "observed")):
        rows = batch.filter(pc.fill_null(batch["observed"], False))
        columns = (rows[name].to_pylist() for name in ("sent_us", "event", "request_id"))
        touched += zip(*columns, strict=True)
    told = "the ledger counts such pages and names none"
    if not touched:
        return f"{told}; no fault that an engine could see came before"
    _, number, request_id = min(touched)
    event = next(
        each
        for each in read_events(recording, {request_id}, touched_only=True)[request_id]
        if each.event == number
    )
    return f"{told}; of the faults that an engine could see, the first: {what_happened(event)}"


def blame_crash(recording: Recording) -> str:
    """One sentence about the event that would have killed the real engine; empty for none."""
    crashed: list[tuple[int, str]] = []
    for batch in recording.batches("events", ("event", "request_id", "result")):
        fatal = pc.starts_with(batch["result"].cast(pa.string()), CRASHED)
        rows = batch.filter(fatal)
        crashed += zip(rows["event"].to_pylist(), rows["request_id"].to_pylist(), strict=True)
    if not crashed:
        return ""
    number, request_id = min(crashed)
    events = read_events(recording, {request_id})[request_id]
    fatal_ones = [each for each in events if each.event == number and has_crashed(each.result)]
    return what_happened(fatal_ones[0])


def blame_never_ended(recording: Recording) -> str:
    """One sentence about the first request that never ended on a side; empty for none."""
    first: tuple[int, str, str, str] | None = None
    columns = ("arrival_us", "request_id", "prefill_state", "decode_state")
    for batch in recording.batches("requests", columns):
        ended = pc.and_(
            pc.is_in(batch["decode_state"].cast(pa.string()), pa.array(DECODE_ENDED)),
            pc.is_in(batch["prefill_state"].cast(pa.string()), pa.array(PREFILL_ENDED)),
        )
        for row in batch.filter(pc.invert(ended)).to_pylist():
            mine = (row["arrival_us"], row["request_id"], row["prefill_state"], row["decode_state"])
            first = mine if first is None else min(first, mine)
    if first is None:
        return ""
    _, request_id, prefill_state, decode_state = first
    touched = read_events(recording, {request_id}, touched_only=True).get(request_id, ())
    return never_ended_words(request_id, prefill_state, decode_state, touched)


def never_ended_words(
    request_id: str, prefill_state: str, decode_state: str, touched: Sequence[EventFact]
) -> str:
    """One sentence about a request that never ended, with the events of it that a rule touched."""
    name = shortened(request_id, _ID_CHARACTERS_MAX)
    said = f"{name} is {prefill_state} on the prefill and {decode_state} on the decode side"
    return f"{said}: {what_happened(touched[0])}" if touched else f"{said}, and no fault touched it"
