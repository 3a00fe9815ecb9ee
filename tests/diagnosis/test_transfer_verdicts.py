"""Verdicts from lines about single transfers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_records import crash, diagnosed, load, place, trouble, verdict

from replay.server_lines.records import TransferTrouble


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        (TransferTrouble.TIMED_OUT_BOOTSTRAPPING, "hang"),
        (TransferTrouble.TIMED_OUT_WAITING, "hang"),
        (TransferTrouble.FAILED, "hang"),
        (TransferTrouble.STILL_WAITING, "hang"),
        (TransferTrouble.HOLD_EXPIRED, "held"),
        (TransferTrouble.READ_AFTER_RELEASE, "premature-free"),
        (TransferTrouble.UNKNOWN_REQUEST, "premature-free"),
        (TransferTrouble.STARVED, "pressure"),
    ],
)
def test_one_line_leaves_it_open_and_says_what_to_collect(what: TransferTrouble, kind: str) -> None:
    found = verdict([trouble(place(1), what)])
    assert (found.verdict, found.kind, found.direction) == ("inconclusive", kind, "none")
    assert found.next


def test_a_hold_alone_is_as_it_should_be() -> None:
    found = diagnosed([trouble(place(1), TransferTrouble.HELD)])
    assert not found.series
    assert (found.engine, len(found.transfers)) == ("sglang", 1)
    assert (found.worst.verdict, found.worst.kind) == ("inconclusive", "held")
    assert "none of" not in found.worst.why


def test_a_read_after_its_hold_had_ended_is_a_premature_free() -> None:
    expired = trouble(place(1, 0.0, "TP1"), TransferTrouble.HOLD_EXPIRED)
    late = trouble(place(2, 9.0, "TP0"), TransferTrouble.READ_AFTER_RELEASE)
    assert verdict([expired, late]).verdict == "persistent"
    other = trouble(place(2), TransferTrouble.READ_AFTER_RELEASE, "r2")
    assert verdict([expired, other]).verdict == "inconclusive"
    assert verdict([late, expired]).verdict == "inconclusive"


def test_holds_that_ended_and_left_an_empty_pool_were_transient() -> None:
    expired = trouble(place(1, 0.0), TransferTrouble.HOLD_EXPIRED)
    idle = [load(place(2, 5.0), 0, 0, queued=0)]
    assert verdict([expired, *idle]).verdict == "transient"
    later = trouble(place(3, 9.0), TransferTrouble.HOLD_EXPIRED)
    assert verdict([*idle, later]).verdict == "inconclusive"


def test_who_waited_and_does_not_any_more_was_late() -> None:
    waits = trouble(place(1, 0.0), TransferTrouble.STILL_WAITING)
    assert verdict([waits, load(place(2, 5.0), 1, 90, queued=0)]).verdict == "transient"
    assert verdict([waits, load(place(2, 5.0), 1, 90, queued=1)]).verdict == "inconclusive"


def test_a_transfer_that_waits_longer_than_any_timeout_is_lost() -> None:
    lines = [trouble(place(n, n * 60.0), TransferTrouble.STILL_WAITING) for n in range(1, 13)]
    assert verdict(lines).verdict == "persistent"
    assert verdict(lines[:5]).verdict == "inconclusive"


def test_a_timeout_ends_what_seemed_stuck() -> None:
    lines = [load(place(n, float(n)), 2, 90, transferring=int(n > 5)) for n in range(1, 90)]
    assert verdict(lines).verdict == "persistent"
    ended = trouble(place(91, 91.0), TransferTrouble.TIMED_OUT_WAITING)
    assert verdict([*lines, ended]).verdict == "inconclusive"


def test_a_crash_is_told_as_one() -> None:
    found = verdict([crash(place(1), "AssertionError: req_id"), crash(place(2), "sigquit")])
    assert (found.verdict, found.kind) == ("inconclusive", "crash")
    assert "times" not in found.why


def test_a_transfer_that_fails_on_every_rank_is_one() -> None:
    failed = [trouble(place(n, 0.0, f"TP{n}"), TransferTrouble.FAILED) for n in range(1, 5)]
    assert "1 transfer failed" in verdict(failed).why
    other = replace(trouble(place(6), TransferTrouble.FAILED), room="8")
    assert "2 transfers failed" in verdict([*failed, other]).why
