"""SGLang's lines about transfers that were given up, on both sides.

0.4.6.post5 logs one for each failed transfer, with an exception that says nothing; post3 and post4 log
none, they raise. 0.5.23 logs one for each transfer that failed, timed out or was aborted, by every TP
rank that knows the reason itself; the others are mute. Sources: sglang 0.4.6.post5
`disaggregation/{decode,prefill}.py`, `disaggregation/mooncake/conn.py` (failure_exception); 0.5.23
`disaggregation/{decode,prefill}.py`, `disaggregation/common/conn.py` (KVTransferError).
"""

from __future__ import annotations

from typing import Any

from replay.engine_log.presence import Requests
from replay.engine_log.servers import Line, LogRank, Side, tagged
from replay.recording.requests import RequestRow

_ABORTED = "Aborted by AbortReq."
_DEAD = "Failed to get kvcache from prefill instance, it might be dead"


def transfer_lines(
    side: Side, rank: LogRank, requests: Requests, profile: dict[str, Any]
) -> list[Line]:
    """The lines of one rank, in order of time."""
    is_old = profile["message_style"] == "sglang-0.4"
    if is_old and profile["failed_transfer"] == "raise":
        return []
    lines: list[Line] = []
    for request in requests.rows():
        if side == "decode":
            lines += _of_decode(request, rank, profile, is_old)
        else:
            lines += _of_prefill(request, rank, profile, is_old)
    return sorted(lines, key=lambda line: line.time_us)


def _of_decode(
    request: RequestRow, rank: LogRank, profile: dict[str, Any], is_old: bool
) -> list[Line]:
    given_up_us = request.gave_up_us if request.gave_up_us >= 0 else request.ended_us
    if request.consumed_us >= 0 or given_up_us < 0 or request.arrival_us == given_up_us:
        return []
    was_aborted = request.decode_state == "aborted"
    if request.decode_state not in ("aborted", "failed", "lost", "deferred"):
        return []
    what = "transfer" if request.preallocated_us >= 0 else "handshake"
    named = f"decode_req.req.rid={request.request_id!r} decode_req.req.bootstrap_room={request.bootstrap_room}"
    if is_old:
        if was_aborted:
            return []
        message = (
            f"Decode {what} failed for request {named} with exception Fake KVReceiver Exception"
        )
        return [tagged(given_up_us, tag, message) for tag in rank.tags]
    reason = _ABORTED if was_aborted else _decode_failure(request, given_up_us, profile)
    error = _transfer_error(request, reason)
    lines = _failures(f"Decode {what}", named, error, given_up_us, rank)
    if (late := _deferral_timeout(request, profile)) is not None:
        lines += [tagged(request.ended_us, tag, late) for tag in rank.tags]
    return lines


def _decode_failure(request: RequestRow, given_up_us: int, profile: dict[str, Any]) -> str:
    """Why decode gave the transfer up, where no client had gone away."""
    waited_us = given_up_us - request.preallocated_us
    has_moved = 0 <= request.transfer_start_us <= given_up_us
    timeout_us = profile["waiting_timeout_us"]
    if not has_moved and timeout_us is not None and waited_us >= timeout_us:
        return f"Request {request.bootstrap_room} timed out after {waited_us / 1e6:.1f}s in KVPoll.WaitingForInput"
    timeout_us = profile["completion_timeout_us"]
    overdue_us = given_up_us - request.landed_us
    if request.landed_us >= 0 and timeout_us is not None and overdue_us >= timeout_us:
        # No SGLang bounds this wait; a profile that does says so in the same words.
        return f"Request {request.bootstrap_room} timed out after {waited_us / 1e6:.1f}s in KVPoll.Transferring"
    return _DEAD


def _deferral_timeout(request: RequestRow, profile: dict[str, Any]) -> str | None:
    """The line of pages that were released although nobody said that they are quiet."""
    timeout_us, gave_up_us = profile["deferred_timeout_us"], request.gave_up_us
    held_us = request.ended_us - gave_up_us
    if timeout_us is None or gave_up_us < 0 or held_us < timeout_us:
        return None
    return (
        f"Deferred KV release for room {request.bootstrap_room} timed out after {timeout_us / 1e6}s without a "
        "full drain ack from prefill; releasing anyway."
    )


def _of_prefill(
    request: RequestRow, rank: LogRank, profile: dict[str, Any], is_old: bool
) -> list[Line]:
    ended_us = request.prefill_ended_us
    if request.prefill_state != "dropped" or ended_us < 0 or ended_us == request.arrival_us:
        return []
    started = request.prefill_start_us >= 0
    what = "Prefill transfer" if started else "Prefill bootstrap"
    named = f"req.rid={request.request_id!r} req.bootstrap_room={request.bootstrap_room}"
    if is_old:
        if request.decode_state == "aborted" or not started:
            return []
        return _failures(what, named, "Fake KVSender Exception", ended_us, rank)
    reason = _ABORTED if request.decode_state == "aborted" else _DEAD
    waited_us, timeout_us = ended_us - request.arrival_us, profile["bootstrap_timeout_us"]
    if not started and timeout_us is not None and waited_us >= timeout_us:
        reason = f"Request {request.bootstrap_room} timed out after {waited_us / 1e6:.1f}s in KVPoll.Bootstrapping"
    return _failures(what, named, _transfer_error(request, reason), ended_us, rank)


def _transfer_error(request: RequestRow, reason: str) -> str:
    """The exception of 0.5, which says why."""
    return f"KVTransferError(bootstrap_room={request.bootstrap_room}): {reason}"


def _failures(what: str, named: str, exception: str, time_us: int, rank: LogRank) -> list[Line]:
    """One line from every TP rank, which names itself."""
    return [
        tagged(
            time_us,
            tag,
            f"{what} failed for request rank={tp_rank} {named} with exception {exception}",
        )
        for tp_rank, tag in zip(rank.tp_ranks, rank.tags, strict=True)
    ]
