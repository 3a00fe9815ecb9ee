"""SGLang's transfers that failed, on both sides."""

from __future__ import annotations

import re
from collections.abc import Iterator

from replay.diagnosis.formats.base import Format, PlaceOf
from replay.diagnosis.lines import Line
from replay.diagnosis.records import Record, Transfer, TransferTrouble

_ROOM = re.compile(r"bootstrap_room=(-?\d+)")
_REQUEST = re.compile(r"\brid='?([\w.:-]+)'?")
_RANK = re.compile(r"\brank=(\d+)")
_REASON = re.compile(r"with exception (?:KVTransferError\([^)]*\): )?(.*)")
_TIMED_OUT = re.compile(r"timed out after ([\d.]+) ?s(?:econds)?")


def _read(line: Line, place_of: PlaceOf) -> Iterator[Record]:
    text = line.text
    room = _ROOM.search(text)
    request = _REQUEST.search(text)
    rank = _RANK.search(text)
    reason = _REASON.search(text)
    said = (reason[1] if reason else text)[:300]
    timeout = _TIMED_OUT.search(said)
    trouble = TransferTrouble.FAILED
    if timeout and "Bootstrapping" in said:
        trouble = TransferTrouble.TIMED_OUT_BOOTSTRAPPING
    elif timeout:
        trouble = TransferTrouble.TIMED_OUT_WAITING
    elif "Abort" in said:
        trouble = TransferTrouble.ABORTED
    elif "another rank" in said:
        trouble = TransferTrouble.FAILED_ON_ANOTHER_RANK
    yield Transfer(
        place=place_of("sglang", f"TP{rank[1]}" if rank else ""),
        trouble=trouble,
        room=room[1] if room else "",
        request_id=request[1] if request else "",
        reason=said,
        timeout_s=float(timeout[1]) if timeout else None,
    )


SGLANG_TRANSFERS = Format("sglang transfer", ("bootstrap_room=",), _read)
