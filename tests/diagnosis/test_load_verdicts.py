"""Verdicts from status lines: what hangs, what drains, what is only busy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import check, load, place, verdict

from replay.server_lines.records import Load


def decode_lines(transfers: list[int], every_s: float = 1.0, running: int = 3) -> list[Load]:
    return [
        load(place(n + 1, n * every_s), running, 900, transferring=count, queued=0)
        for n, count in enumerate(transfers)
    ]


def vllm_lines(rows: list[tuple[int, int, float]], every_s: float = 10.0) -> list[Load]:
    return [
        load(place(n + 1, n * every_s, "DP0", engine="vllm"), running, queued=waiting, usage=usage)
        for n, (running, waiting, usage) in enumerate(rows)
    ]


def test_a_transfer_that_never_leaves_the_queue_is_lost() -> None:
    healthy = [0, 1, 2, 0, 1, 0, 0, 3, 1, 0]
    stuck = [1, 1, 2, 1, 1, 3, 1, 1, 1, 2] * 6
    found = verdict(decode_lines(healthy + stuck))
    assert (found.verdict, found.kind, found.direction) == ("persistent", "hang", "none")
    assert "never fewer than 1 in transfer" in found.why


def test_a_transfer_that_came_after_all_was_late() -> None:
    healthy = [0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0]
    found = verdict(decode_lines(healthy + [1] * 60 + [0, 1, 0]))
    assert (found.verdict, found.kind) == ("transient", "held")


def test_a_loaded_server_whose_queue_is_never_empty_is_not_called_lost() -> None:
    found = verdict(decode_lines([5, 7, 4, 6, 5, 8, 3, 6, 5, 7] * 12))
    assert found.verdict == "inconclusive"


def test_a_queue_that_was_often_busy_for_long_is_not_lost_soon() -> None:
    busy = ([1] * 20 + [0]) * 5
    assert verdict(decode_lines(busy + [1] * 40)).verdict == "inconclusive"
    assert verdict(decode_lines(busy + [1] * 90)).verdict == "persistent"


@pytest.mark.parametrize("usage", [0.011, 0.4, 0.99])
def test_requests_that_wait_while_nothing_runs_hang(usage: float) -> None:
    rows = [(4, 0, 0.3), (0, 1, usage), (3, 1, usage + 0.005), (0, 1, usage), (0, 1, usage)]
    found = verdict(vllm_lines(rows))
    assert (found.verdict, found.kind) == ("persistent", "hang")
    assert found.direction == ("leak" if usage > 0.95 else "none")


def test_two_lines_of_waiting_are_too_few() -> None:
    found = verdict(vllm_lines([(4, 0, 0.3), (0, 1, 0.1), (0, 1, 0.1)]))
    assert found.verdict == "inconclusive"
    assert any("VLLM_LOGGING_LEVEL=DEBUG" in step for step in found.next)


def test_what_is_in_use_at_idle_and_only_rises_drains_the_pool() -> None:
    rows = [(5, 2, 0.4), (0, 0, 0.1), (6, 0, 0.5), (0, 0, 0.2), (4, 1, 0.6), (0, 0, 0.3)]
    found = verdict(vllm_lines(rows))
    assert (found.verdict, found.kind, found.direction) == ("persistent", "orphaned", "leak")
    assert found.growth == "growing"


def test_usage_that_comes_back_at_idle_was_held() -> None:
    rows = [(5, 2, 0.4), (0, 0, 0.1), (0, 0, 0.1), (0, 0, 0.0)]
    assert verdict(vllm_lines(rows)).verdict == "transient"
    assert verdict(vllm_lines([(5, 2, 0.4), (0, 0, 0.0)])).verdict == "clean"


def test_a_line_between_two_moments_is_no_news() -> None:
    """A prefill server holds pages until they are read: one line of it is how transfers work."""
    assert verdict(vllm_lines([(5, 2, 0.4), (0, 0, 0.1), (0, 0, 0.0)])).verdict == "clean"


def test_a_full_pool_with_requests_running_is_pressure() -> None:
    full = [(34, 18, 0.992), (33, 40, 0.975), (27, 62, 0.997)]
    found = verdict(vllm_lines(full))
    assert (found.verdict, found.kind, found.direction) == ("inconclusive", "pressure", "none")
    relaxed = verdict(vllm_lines([*full, (5, 0, 0.2)]))
    assert (relaxed.verdict, relaxed.kind) == ("clean", "pressure")


def test_a_full_pool_with_nothing_running_has_lost_its_capacity() -> None:
    rows = [(30, 9, 0.99), (0, 40, 1.0), (0, 44, 1.0), (0, 48, 1.0), (0, 52, 1.0)]
    found = verdict(vllm_lines(rows))
    assert (found.verdict, found.direction) == ("persistent", "leak")
    assert "its capacity is lost" in found.why


def test_growth_by_decoding_alone_is_clean() -> None:
    lines = [load(place(n + 1, float(n)), 2, 7171 + 80 * n, usage=0.04) for n in range(8)]
    found = verdict(lines)
    assert (found.verdict, found.kind) == ("clean", "none")
    assert "40 tokens" in found.why


def test_a_prefill_batch_is_not_idle() -> None:
    lines = [
        load(place(n + 1, n * 5.0), 0, prefilling=1, usage=0.2, queued=0, inflight=0)
        for n in range(6)
    ]
    assert verdict(lines).verdict != "persistent"


def paused(pauses: int, transfers_after: int = 0) -> list[Load]:
    """A decode rank that works for some seconds, rests for a minute, and works again."""
    return [
        load(
            place(cycle * 5 + n + 1, cycle * 60.0 + n),
            2,
            900 + 40 * cycle * n,
            transferring=transfers_after if n == 0 and cycle else n % 2,
            queued=0,
        )
        for cycle in range(pauses + 1)
        for n in range(5)
    ]


def test_pauses_without_a_word_of_the_idle_check_are_clean() -> None:
    assert verdict(paused(3)).verdict == "clean"
    assert verdict(paused(2)).verdict == "inconclusive"
    assert verdict(paused(3, transfers_after=1)).verdict != "clean"


def test_a_busy_decode_rank_is_no_clean_one_whatever_it_uses() -> None:
    """Requests that are never admitted leave no line behind."""
    found = verdict(decode_lines([0, 1, 0, 0, 2, 0, 0, 1, 0]))
    assert found.verdict == "inconclusive"
    assert "neither a leak nor a healthy pool" in found.why


def test_a_pool_that_is_always_full_is_no_clean_one() -> None:
    """Whether its requests or lost pages fill it, lines of a working engine do not tell."""
    full = [load(place(n, n * 1.0), 6, 1920, usage=0.94, queued=5) for n in range(1, 7)]
    assert verdict(full).verdict == "inconclusive"
    small = [load(place(n, n * 1.0), 6, 40 + n % 2, usage=0.02, queued=0) for n in range(1, 7)]
    assert verdict(small).verdict == "clean"


def test_idle_long_ago_says_nothing_of_now() -> None:
    rows = [(0, 0, 0.0)] * 3 + [(3, 0, 0.2)] * 40
    assert verdict(vllm_lines(rows)).verdict == "inconclusive"
    assert verdict(vllm_lines([*rows, (0, 0, 0.0)])).verdict == "clean"


def test_lines_that_say_no_more_than_that_they_run_leave_it_open() -> None:
    found = verdict([load(place(1), 3, 900)])
    assert (found.verdict, found.kind) == ("inconclusive", "none")


def test_a_busy_moment_after_a_check_that_balances_takes_nothing_from_it() -> None:
    assert verdict([check(place(1, 0.0), 0), load(place(2, 1.0), 3, 900)]).verdict == "clean"


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_a_queue_that_was_empty_at_the_end_is_never_called_lost(transfers: list[int]) -> None:
    assert verdict(decode_lines([*transfers, 0])).verdict in ("clean", "transient", "inconclusive")


@given(st.lists(st.sampled_from([(0, 0, 0.0), (0, 0, 0.2), (3, 1, 0.5)]), min_size=1, max_size=30))
def test_a_pool_that_is_empty_at_the_end_lost_nothing(rows: list[tuple[int, int, float]]) -> None:
    assert verdict(vllm_lines([*rows, (0, 0, 0.0)])).verdict in ("clean", "transient")
