"""What the transfer lines of one server mean; the counts of pages are judged elsewhere."""

from __future__ import annotations

from replay.diagnosis.judging.finding import Finding
from replay.diagnosis.judging.gap_run import seconds_between
from replay.diagnosis.judging.next_steps import steps_for_load, steps_for_transfers
from replay.diagnosis.judging.transfer_watch import FAILING, TransferWatch
from replay.recording.words import counted
from replay.server_lines.records import Place, Transfer, TransferTrouble

#: From here on a transfer that still waits is lost: the longest timeout that engines set by default.
_WAITS_S_MAX = 600.0


def judge_transfers(watch: TransferWatch, well_again: Place | None) -> Finding | None:
    """The worst that the transfer lines say, or None when they say nothing to worry about.

    `well_again` is where the server was seen without transfers after all of them, if nothing else
    is wrong with it.
    """
    return (
        _read_late(watch)
        or _healed(watch, well_again)
        or _timed_out(watch)
        or _still_waiting(watch)
        or _failed(watch)
        or _expired(watch)
        or _unknown(watch)
        or _starved(watch)
    )


def _read_late(watch: TransferWatch) -> Finding | None:
    last = watch.latest.get(TransferTrouble.READ_AFTER_RELEASE)
    if last is None:
        return None
    count = watch.counts[TransferTrouble.READ_AFTER_RELEASE]
    if watch.read_late is not None:
        held, read = watch.read_late
        return Finding(
            verdict="persistent",
            kind="premature-free",
            why=f"{watch.engine}: {_name(read)} was read at line {read.place.line} after its hold "
            f"had ended by its timeout at line {held.place.line}: it may have got another's bytes, "
            "and no count of pages shows that",
            next=("raise the hold's timeout above the longest time that decode requests queue",),
        )
    return Finding(
        verdict="inconclusive",
        kind="premature-free",
        why=f"{watch.engine}: pages of {_name(last)} were read when nobody held them any more "
        f"({counted(count, 'line')}): counts balance, contents may be wrong",
        next=(
            "look for the request in the log of the other side, and for the line that released "
            "its pages: a release by timeout before the read makes the answer wrong",
            *steps_for_transfers(watch.engine),
        ),
    )


def _healed(watch: TransferWatch, well_again: Place | None) -> Finding | None:
    """Transfers that went wrong and left nothing behind."""
    last = watch.last_trouble
    if well_again is None or last is None:
        return None
    return Finding(
        verdict="transient",
        kind="held",
        why=f"{watch.engine}: {counted(watch.kept.total, 'line')} of transfers that went wrong, "
        f"the last at line {last.place.line} ({last.reason}); at line {well_again.line} nothing is "
        "in transfer, and no more is in use than before",
    )


def _timed_out(watch: TransferWatch) -> Finding | None:
    troubles = (TransferTrouble.TIMED_OUT_WAITING, TransferTrouble.TIMED_OUT_BOOTSTRAPPING)
    found = [watch.latest[each] for each in troubles if each in watch.latest]
    if not found:
        return None
    count = watch.transfers_with(troubles)
    last = max(found, key=lambda each: each.place.line)
    after = "" if last.timeout_s is None else f" after {last.timeout_s:.0f} s"
    return Finding(
        verdict="inconclusive",
        kind="hang",
        growth="unknown",
        why=f"{watch.engine}: {counted(count, 'transfer')} timed out{after} ({last.reason}), the "
        f"last at line {last.place.line}; whether the pages came back these lines do not say",
        next=steps_for_transfers(watch.engine),
    )


def _still_waiting(watch: TransferWatch) -> Finding | None:
    first = watch.waiting_first
    last = watch.latest.get(TransferTrouble.STILL_WAITING)
    if first is None or last is None:
        if last is None:
            return None
        return Finding(
            verdict="transient",
            kind="held",
            why=f"{watch.engine}: {_name(last)} waited for its KV, and nobody waits any more",
        )
    lasted_s = seconds_between(first.place, last.place)
    lost = lasted_s is not None and lasted_s > _WAITS_S_MAX
    told = "" if lasted_s is None else f" for {lasted_s:.0f} s"
    return Finding(
        verdict="persistent" if lost else "inconclusive",
        kind="hang",
        growth="unknown",
        why=f"{watch.engine}: {_name(last)} still waits for its KV{told}"
        + (", longer than any timeout" if lost else "; a slow transfer looks like that as well"),
        next=() if lost else steps_for_transfers(watch.engine),
    )


def _failed(watch: TransferWatch) -> Finding | None:
    found = [watch.latest[each] for each in FAILING if each in watch.latest]
    aborted = watch.latest.get(TransferTrouble.ABORTED)
    if not found and aborted is None:
        return None
    if not found:
        count = watch.transfers_with((TransferTrouble.ABORTED,))
        return Finding(
            verdict="inconclusive",
            kind="hang",
            why=f"{watch.engine}: {counted(count, 'transfer')} aborted; whether the pages came back "
            "these lines do not say",
            next=steps_for_transfers(watch.engine),
        )
    count = watch.transfers_with(FAILING)
    last = max(found, key=lambda each: each.place.line)
    return Finding(
        verdict="inconclusive",
        kind="hang",
        why=f"{watch.engine}: {counted(count, 'transfer')} failed ({last.reason}); whether the "
        "client was told and the pages came back these lines do not say",
        next=steps_for_transfers(watch.engine),
    )


def _expired(watch: TransferWatch) -> Finding | None:
    last = watch.latest.get(TransferTrouble.HOLD_EXPIRED)
    if last is None:
        return None
    count = watch.transfers_with((TransferTrouble.HOLD_EXPIRED,))
    after = "" if last.timeout_s is None else f" of {last.timeout_s:.0f} s"
    return Finding(
        verdict="inconclusive",
        kind="held",
        growth="unknown",
        why=f"{watch.engine}: {counted(count, 'hold')} ended by the timeout{after}, the last for "
        f"{_name(last)}: its pages came back to the pool, but whoever reads them late gets "
        "another's bytes, and these lines do not say whether somebody did",
        next=(
            "search the other side's log for the request: did it read, and when?",
            *steps_for_transfers(watch.engine),
        ),
    )


def _unknown(watch: TransferWatch) -> Finding | None:
    """Completions for nobody: the hold that they should have ended had ended before."""
    last = watch.latest.get(TransferTrouble.UNKNOWN_REQUEST)
    if last is None:
        return None
    count = watch.transfers_with((TransferTrouble.UNKNOWN_REQUEST,))
    return Finding(
        verdict="inconclusive",
        kind="premature-free",
        why=f"{watch.engine}: {counted(count, 'completion')} came for what nobody holds any more, "
        f"the last for {_name(last)} at line {last.place.line}: pages that were given back before "
        "they were read have another's bytes, and no count of pages shows that",
        next=(
            "look for the line that released the pages: a release by timeout before this line means "
            "that the read was late",
            *steps_for_transfers(watch.engine),
        ),
    )


def _starved(watch: TransferWatch) -> Finding | None:
    last = watch.latest.get(TransferTrouble.STARVED)
    if last is None:
        return None
    return Finding(
        verdict="inconclusive",
        kind="pressure",
        growth="unknown",
        why=f"{watch.engine}: {counted(watch.counts[TransferTrouble.STARVED], 'allocation')} found "
        "no room: the pool is full, of work or of what was never given back",
        next=steps_for_load(watch.engine),
    )


def _name(transfer: Transfer) -> str:
    if transfer.request_id:
        return f"request {transfer.request_id}"
    return f"room {transfer.room}" if transfer.room else "a request"
