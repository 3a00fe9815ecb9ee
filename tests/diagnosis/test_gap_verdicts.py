"""Verdicts from accounting checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import check, checks, crash, diagnosed, load, place, verdict

from replay.server_lines.records import Load

GAPS = st.lists(st.integers(-3, 6).map(lambda pages: pages * 64), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("gaps", "wanted"),
    [
        ((0,), ("clean", "none", "none", "none")),
        ((0, 0, 0), ("clean", "none", "none", "none")),
        ((64,), ("inconclusive", "unknown", "leak", "unknown")),
        ((64, 64), ("persistent", "orphaned", "leak", "unknown")),
        ((64, 64, 64), ("persistent", "orphaned", "leak", "one-off")),
        ((64, 128, 192), ("persistent", "orphaned", "leak", "growing")),
        ((64, 128, 0), ("transient", "held", "leak", "none")),
        ((64, 0, 64), ("inconclusive", "unknown", "leak", "unknown")),
        ((64, 0, 64, 64, 64), ("persistent", "orphaned", "leak", "one-off")),
        # It went down: somebody gave something back, so it may go on.
        ((192, 128), ("inconclusive", "unknown", "leak", "unknown")),
        ((192, 128, 128, 128), ("persistent", "orphaned", "leak", "one-off")),
        ((-64,), ("inconclusive", "over-freed", "over-free", "unknown")),
        ((-64, -64, -128), ("persistent", "over-freed", "over-free", "growing")),
    ],
)
def test_a_series_of_quiet_checks(gaps: tuple[int, ...], wanted: tuple[str, ...]) -> None:
    found = verdict(checks(*gaps))
    assert (found.verdict, found.kind, found.direction, found.growth) == wanted


def test_a_persistent_gap_needs_nothing_more_but_a_single_line_does() -> None:
    assert verdict(checks(64, 64, 64)).next == ()
    single = verdict([check(place(1), 64, raised=True)])
    assert any("SGLANG_ENABLE_STRICT_MEM_CHECK_DURING_IDLE=0" in step for step in single.next)


def test_equal_lines_of_one_moment_or_without_times_are_one_check() -> None:
    """Eight ranks of 0.4.6.post3 print eight equal warnings, none of them with a rank."""
    lines = [check(place(number, None, ""), 64) for number in range(1, 9)]
    assert verdict(lines).verdict == "inconclusive"
    assert "8 lines of the same moment" in verdict(lines).why
    spinning = [check(place(number, number * 0.05), 64) for number in range(1, 9)]
    assert verdict(spinning).verdict == "inconclusive"


def test_work_between_two_equal_lines_makes_them_two_checks() -> None:
    assert (
        verdict([check(place(1), 64), load(place(2), 3, 900), check(place(3), 64)]).verdict
        == "persistent"
    )


def test_different_untimed_values_that_rise_show_growth() -> None:
    """Python's warnings print each text once, so only a changed gap is printed again."""
    lines = [check(place(number, None, ""), 64 * number) for number in (1, 2, 3)]
    found = verdict(lines)
    assert (found.verdict, found.growth) == ("persistent", "growing")


def test_untagged_values_of_a_server_with_several_ranks_need_not_be_one_pools() -> None:
    rising = [check(place(line, None, ""), gap) for line, gap in ((1, 64), (9, 128), (17, 192))]
    busy = [load(place(20 + dp, 100.0, rank=f"DP{dp} TP{dp}"), running=1, used=8) for dp in (0, 1)]
    assert verdict([*rising, *busy[:1]]).verdict == "persistent"
    found = diagnosed([*rising, *busy])
    assert (found.worst.verdict, found.worst.growth) == ("inconclusive", "unknown")
    assert "name no rank and the server has 2 DP ranks" in found.worst.why
    assert found.worst.next


def test_less_in_use_than_the_gap_shows_that_it_has_gone() -> None:
    records = [check(place(1, 0.0), 640), load(place(2, 30.0), 1, 200)]
    assert verdict(records).verdict == "transient"
    records[1] = load(place(2, 30.0), 1, 900)
    assert verdict(records).verdict == "inconclusive"


def test_a_restart_heals_nothing() -> None:
    """An engine that died of its gap starts again with an empty pool."""
    died = [check(place(1, 0.0), 640, raised=True)]
    assert verdict([*died, load(place(9, 60.0), 1, 10)]).verdict == "inconclusive"
    assert verdict([*died, check(place(9, 60.0), 0)]).verdict == "inconclusive"
    again = [*died, load(place(9, 60.0), 1, 10), check(place(12, 90.0), 640, raised=True)]
    assert verdict(again).verdict == "inconclusive"
    assert "died 2 times" in verdict(again).why
    crashed = [check(place(1, 0.0), 640), crash(place(2, 1.0)), check(place(9, 60.0), 0)]
    assert verdict(crashed).verdict == "inconclusive"


def test_one_death_told_twice_is_one() -> None:
    told = [check(place(line, 0.0), 640, raised=True) for line in (1, 20)]
    assert verdict(told).verdict == "inconclusive"
    assert "times" not in verdict(told).why


def test_a_gap_in_the_middle_of_work_does_not_tell_whether_it_stays() -> None:
    busy = [check(place(line, line * 10.0), 64, busy=True) for line in (1, 2, 3)]
    assert verdict(busy).verdict == "inconclusive"
    assert verdict([*busy, check(place(9, 90.0), 0, busy=True)]).verdict == "transient"


def test_a_counter_below_zero_has_drifted_and_no_line_reproduces_it() -> None:
    found = diagnosed([check(place(1), 12, protected=-12)])
    assert (found.worst.kind, found.worst.direction) == ("counter-drift", "leak")
    assert found.reproduce == ""
    assert "protected is below zero" in found.worst.why


def test_an_error_with_requests_waiting_may_be_a_false_alarm() -> None:
    waiting = load(place(1, 0.0), 0, 64, queued=2)
    assert verdict([waiting, check(place(2, 0.5), 64, raised=True)]).kind == "check-false-alarm"
    assert verdict([waiting, check(place(2, 60.0), 64, raised=True)]).kind == "unknown"


def test_a_gap_of_the_size_of_what_runs_next_may_be_its_own() -> None:
    """An idle check that looks while KV is on its way counts its pages as missing."""
    again = [
        record
        for turn in range(4)
        for record in (
            check(place(9 * turn + 1, turn * 40.0), 640),
            check(place(9 * turn + 2, turn * 40.0), 1, 4096, pool="req_to_token"),
            load(place(9 * turn + 3, turn * 40.0 + 1), 1, 672, transferring=0),
        )
    ]
    found = verdict(again)
    assert (found.verdict, found.kind) == ("inconclusive", "check-false-alarm")
    more = [
        load(record.place, 1, 1400, transferring=0) if isinstance(record, Load) else record
        for record in again
    ]
    assert verdict(more).verdict == "persistent"


def test_both_sides_of_the_equation_and_the_pages_are_told() -> None:
    found = diagnosed([check(place(1, rank="DP3 TP3"), 34_048, 13_858_304)])
    assert "available 13824256" in found.worst.why
    assert "total 13858304" in found.worst.why
    assert "532 x 64" in found.worst.why
    assert "never pages of 512" in found.worst.why
    pages = found.to_dict()["pages"]
    assert {"page_size": 64, "pages": 532} in pages
    assert all(each["page_size"] != 512 for each in pages)


def test_a_gap_of_single_tokens_is_said_to_be_no_pages() -> None:
    assert "not whole pages of 16" in verdict(checks(7)).why


def test_request_slots_are_slots_and_have_no_line() -> None:
    found = diagnosed([check(place(1), 7, 64, pool="req_to_token")])
    assert "7 slots are missing" in found.worst.why
    assert found.reproduce == ""


def test_the_line_of_a_gap_that_went_asks_for_one_that_goes() -> None:
    wanted = "kvreplay reproduce --available 4032 --total 4096 --page-size 64"
    assert diagnosed(checks(64, 64)).reproduce == wanted
    assert diagnosed(checks(64, 0)).reproduce == f"{wanted} --as transient"


def test_ranks_that_print_the_same_numbers_are_one_gap() -> None:
    records = [check(place(rank, 1.0, f"DP0 TP{rank}"), 64) for rank in range(8)]
    found = diagnosed(records)
    assert len(found.same_gap_ranks) == 7
    other = [check(place(rank, 1.0, f"DP{rank} TP{rank}"), 64) for rank in range(8)]
    assert diagnosed(other).same_gap_ranks == ()


def test_the_worst_rank_gives_the_verdict() -> None:
    records = [*checks(64, 64, 64, rank="DP1 TP1"), *checks(64, 0, 0, rank="DP2 TP2")]
    found = diagnosed(records)
    assert found.worst.verdict == "persistent"
    assert [each.assessment.verdict for each in found.series] == ["persistent", "transient"]


def test_thousands_of_checks_are_listed_by_the_hundred() -> None:
    many = diagnosed(check(place(n, float(n)), 64 * (n % 2)) for n in range(1, 5_001))
    document = many.to_dict()
    assert document["observations_total"] == 5_000
    listed = document["observations"]
    assert len(listed) < 200
    assert (listed[0]["line"], listed[-1]["line"]) == (1, 5_000)


@given(GAPS, st.integers(1, 3))
def test_checks_that_balance_end_what_was_open_and_open_nothing(gaps: list[int], more: int) -> None:
    before = verdict(checks(*gaps)).verdict
    after = verdict(checks(*gaps, *[0] * more)).verdict
    assert after == ("transient" if any(gaps) else "clean")
    if before == "transient":
        assert after == "transient"


@given(GAPS, GAPS, st.randoms(use_true_random=False))
def test_how_ranks_are_interleaved_changes_nothing(one: list[int], two: list[int], random) -> None:
    first, second = checks(*one, rank="DP0 TP0"), checks(*two, rank="DP1 TP1")
    mixed, left, right = [], list(first), list(second)
    while left or right:
        source = left if left and (not right or random.random() < 0.5) else right
        mixed.append(source.pop(0))
    apart, together = diagnosed([*first, *second]), diagnosed(mixed)
    assert together.summary == apart.summary
    assert {each.rank: each.assessment for each in together.series} == {
        each.rank: each.assessment for each in apart.series
    }


@given(GAPS)
def test_direction_is_the_sign_of_the_gap_that_is_shown(gaps: list[int]) -> None:
    found = diagnosed(checks(*gaps))
    shown = found.worst.observation
    if shown is None:
        assert found.worst.direction == "none"
    else:
        assert found.worst.direction == ("leak" if shown.gap > 0 else "over-free")
        assert found.gap_tokens == shown.gap


@given(GAPS)
def test_growth_is_told_by_three_checks_at_least(gaps: list[int]) -> None:
    found = verdict(checks(*gaps))
    if found.growth in ("growing", "one-off"):
        tail = [gap for gap in gaps if gap][-3:]
        assert found.verdict == "persistent"
        assert len(tail) == 3
        assert 0 not in gaps[-3:]
