"""SGLang's transfers that did not go well, on both sides.

    Decode transfer failed for request rank=6 decode_req.req.rid='cd0' decode_req.req.bootstrap_room=83
        with exception KVTransferError(bootstrap_room=83): Request 83 timed out after 600.0s in KVPoll.WaitingForInput
    Prefill bootstrap failed for request rank=2 req.rid='d3f' req.bootstrap_room=59 with exception ...

each on one line. Sources: sglang 0.4.6.post5 and 0.5.23 `disaggregation/{decode,prefill}.py`,
`disaggregation/{mooncake,common,nixl}/conn.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from replay.server_lines.base import REASON_CHARACTERS, SECONDS, Family, PlaceOf, transfer_family
from replay.server_lines.log_line import LogLine
from replay.server_lines.records import Record, Transfer, TransferTrouble

_ROOM = re.compile(r"bootstrap_room=(-?\d+)")
_REQUEST = re.compile(r"\brid='?([\w.:-]+)'?")
_RANK = re.compile(r"\brank=(\d+)")
_REASON = re.compile(r"KVTransferError\([^)]{0,99}\): (.*)")
_EXCEPTION = re.compile(r"with exception (.*)")
_FAILED = re.compile(r"(?:Decode|Prefill) [a-z]+ failed for request.*|KVTransferError.*")
#: What ends a message that a router hands on in the body of its answer.
_JSON_END = '"}'
_TIMED_OUT = re.compile(r"timed out after (\d{1,9}(?:\.\d{1,9})?) ?s")

#: What a reason says, by the first of these words in it.
_TROUBLES = (
    ("Bootstrapping", TransferTrouble.TIMED_OUT_BOOTSTRAPPING),
    ("timed out", TransferTrouble.TIMED_OUT_WAITING),
    ("Abort", TransferTrouble.ABORTED),
    ("another rank", TransferTrouble.FAILED_ON_ANOTHER_RANK),
)


def _read_failure(line: LogLine, place_of: PlaceOf) -> Iterator[Record]:
    text = line.text
    failed = _FAILED.search(text)
    if failed is None:
        return
    room = _ROOM.search(text)
    request = _REQUEST.search(text)
    rank = _RANK.search(text)
    told = _REASON.search(text) or _EXCEPTION.search(text)
    said = (told[1] if told else failed[0]).partition(_JSON_END)[0]
    timeout = _TIMED_OUT.search(said)
    yield Transfer(
        place=place_of("sglang", f"TP{rank[1]}" if rank else ""),
        trouble=next(
            (trouble for word, trouble in _TROUBLES if word in said), TransferTrouble.FAILED
        ),
        room=room[1] if room else "",
        request_id=request[1] if request else "",
        reason=said[:REASON_CHARACTERS].strip(),
        timeout_s=float(timeout[1]) if timeout else None,
    )


SGLANG_FAILURES = Family(
    "sglang transfer failure",
    # A line cut short may lack the exception, a bare exception the words before it.
    (" failed for request", "KVTransferError"),
    _read_failure,
)


SGLANG_TRANSFERS = transfer_family(
    "sglang transfer",
    "sglang",
    (
        "transfer done signal",
        "timed out when bootstrapping",
        "with prefill instance",
        "worker error for room",
        "transport error for room",
        "Deferred KV release",
        "bootstrap_room mismatch",
        "Failed to send kv chunk",
    ),
    (
        (TransferTrouble.TIMED_OUT_WAITING, r"Some requests fail to receive KV Cache.*"),
        (TransferTrouble.TIMED_OUT_BOOTSTRAPPING, r"Some requests timed out when boot.*"),
        (TransferTrouble.FAILED, r"Los(?:t|ing) connection with prefill instance"),
        (TransferTrouble.FAILED, r"(?:\w{1,30} ){1,4}error for room (?P<room>-?\d+)"),
        (
            TransferTrouble.HOLD_EXPIRED,
            rf"Deferred KV release for room (?P<room>-?\d+) timed out after {SECONDS}s",
        ),
        (TransferTrouble.FAILED, r"Metadata corruption detected"),
        (TransferTrouble.FAILED, r"Failed to send kv chunk of (?P<room>-?\d+)"),
    ),
)


ABORTED = "Aborted by AbortReq."
PEER_DEAD = "Failed to get kvcache from prefill instance, it might be dead"


def failed_transfer(
    what: str, request_id: str, room: int, exception: str, tp_rank: int | None = None
) -> str:
    """A line about one transfer; `what` is such as "Decode transfer" or "Prefill bootstrap"."""
    rank = "" if tp_rank is None else f"rank={tp_rank} "
    owner = "decode_req.req" if what.startswith("Decode") else "req"
    return (
        f"{what} failed for request {rank}{owner}.rid={request_id!r} "
        f"{owner}.bootstrap_room={room} with exception {exception}"
    )


def transfer_error(room: int, reason: str) -> str:
    """The exception of 0.5, which says why."""
    return f"KVTransferError(bootstrap_room={room}): {reason}"


def timed_out(room: int, waited_s: float, state: str) -> str:
    """The reason of a transfer that was given up in a state of `KVPoll`."""
    return f"Request {room} timed out after {waited_s:.1f}s in KVPoll.{state}"


def forced_release(room: int, timeout_s: float) -> str:
    """The line about pages that were released by timeout, without confirmation that they are quiet."""
    return (
        f"Deferred KV release for room {room} timed out after {timeout_s}s without a full drain ack "
        "from prefill; releasing anyway."
    )
