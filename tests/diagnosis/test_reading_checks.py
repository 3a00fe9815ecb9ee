"""Accounting checks of every age of SGLang, with the numbers that their engine meant."""

import pytest
from composed_logs import died_of, head, new_terms, old_check, read
from hypothesis import given
from hypothesis import strategies as st

from replay.server_lines.records import Crash, Observation

COUNT = st.integers(-(10**6), 10**8)


def numbers(record):
    return (
        record.pool,
        record.available,
        record.evictable,
        record.protected,
        record.session_held,
        record.uncached,
        record.total,
    )


def test_until_0_5_2_the_printed_size_includes_evictable():
    (seen,) = read(old_check(2860080, 325120, 3185200, prefix="ValueError: "))
    assert (seen.available, seen.evictable, seen.total) == (2860080, 325120, 3185200)
    (over,) = read(old_check(2864304, 325120, 3185200, prefix="ValueError: "))
    assert over.gap == -4224
    assert over.printed_available == 3189424
    assert over.raised


def test_the_first_line_alone_is_enough():
    (seen,) = read(old_check(13824256, 0, 13858304).split("\n")[0])
    assert (seen.available, seen.gap) == (13824256, 34048)


def test_the_third_line_alone_tells_what_is_free():
    lines = old_check(100, 20, 200).splitlines(keepends=True)
    (seen,) = read(lines[0] + lines[2])
    assert (seen.available, seen.evictable, seen.gap) == (100, 20, 80)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "x.py:52: UserWarning: Warning: available_size=35244, max_total_num_token=42308\n"
            "KV cache pool leak detected!\n",
            ("full", 35244, 0, 0, 0, 0, 42308),
        ),
        (
            "UserWarning: Warning: available_size=9, max_total_num_tokens=10\nKV cache pool leak detected!",
            ("full", 9, 0, 0, 0, 0, 10),
        ),
        (
            "UserWarning: Warning: available req slots=7, total slots=9\nMemory pool leak detected!\n",
            ("req_to_token", 7, 0, 0, 0, 0, 9),
        ),
        (
            "UserWarning: KV cache pool leak detected!available_size=9, protected_size=1, self.max_total_num_tokens=10\n",
            ("full", 9, 0, 1, 0, 0, 10),
        ),
        (
            "UserWarning: Memory pool leak detected!available_size=7, total_size=9\n",
            ("req_to_token", 7, 0, 0, 0, 0, 9),
        ),
        (
            "ValueError: token_to_kv_pool_allocator memory leak detected! self.max_total_num_tokens=270331, "
            "available_size=644, evictable_size=269628, protected_size=0\n",
            ("full", 644, 269628, 0, 0, 0, 270331),
        ),
        (
            "ValueError: pool memory leak detected! self.max_total_num_tokens=30, available_size=4, "
            "evictable_size=5, protected_size=6, session_held=7\n",
            ("full", 4, 5, 6, 7, 0, 30),
        ),
        (
            "ValueError: req_to_token_pool memory leak detected!available_size=3756, total_size=3757\n",
            ("req_to_token", 3756, 0, 0, 0, 0, 3757),
        ),
        (
            f"{head()} req_to_token_pool memory leak detected!available_size=5, session_held=1, total_size=7\n",
            ("req_to_token", 5, 0, 0, 1, 0, 7),
        ),
        (
            "token_to_kv_pool_allocator memory leak detected! full_avail=416800, full_evict=96, "
            "full_protected=0 (expected 416928)\n",
            ("full", 416800, 96, 0, 0, 0, 416928),
        ),
        (
            "RuntimeError: page_allocator memory leak detected! self.max_total_num_tokens=10, "
            "available_size=4, evictable_size=5, protected_size=0\n",
            ("full", 4, 5, 0, 0, 0, 10),
        ),
        (
            "AssertionError: Mem Leak Detected! total_tokens=608192 vs self.max_total_num_tokens=600000\n",
            ("full", 608192, 0, 0, 0, 0, 600000),
        ),
    ],
)
def test_every_age_has_its_words(text, expected):
    (seen,) = read(text)
    assert numbers(seen) == expected


def test_hybrid_models_print_a_line_for_each_pool():
    full, swa = read(
        "ValueError: pool memory leak detected! full_leaked=1, swa_leaked=2\n"
        "self.full_tokens_per_layer=100, full_available_size=70, full_evictable_size=20, "
        "full_protected=5, session_held_full=4\n"
        "self.swa_tokens_per_layer=50, swa_available_size=30, swa_evictable_size=10, "
        "swa_protected=6, session_held_swa=2\n"
    )
    assert numbers(full) == ("full", 70, 20, 5, 4, 0, 100)
    assert numbers(swa) == ("swa", 30, 10, 6, 2, 0, 50)
    assert swa.raised
    full, mamba = read(
        "ValueError: token_to_kv_pool_allocator memory leak detected! full_available_size=6016, "
        "full_evictable_size=390685, self.token_to_kv_pool_allocator.size=396701, "
        "self.tree_cache.full_protected_size()=0\n"
        "mamba_available_size=315, mamba_evictable_size=138, self.req_to_token_pool.mamba_pool.size=454, "
        "self.tree_cache.mamba_protected_size()=0, leaked_full_pages=None, leaked_mamba_pages={191}\n"
    )
    assert (full.gap, mamba.gap, mamba.pool) == (0, 1, "mamba")


@given(COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, st.sampled_from(["full", "swa", "mamba"]))
def test_the_numbers_of_0_5_come_back(available, evictable, protected, held, uncached, total, pool):
    terms = new_terms(pool, available, evictable, total, protected, held, uncached)
    (seen,) = read(f"{head(rank='DP3 TP3')} pool memory leak detected! {terms}\n")
    assert numbers(seen) == (pool, available, evictable, protected, held, uncached, total)
    assert seen.gap == total - available - evictable - protected - held - uncached
    assert (seen.place.rank, seen.raised, seen.busy) == ("DP3 TP3", False, uncached != 0)


@given(st.integers(0, 10**8), st.integers(0, 10**8), st.integers(0, 10**8))
def test_the_numbers_of_0_4_come_back(available, evictable, total):
    (seen,) = read(old_check(available, evictable, total))
    assert numbers(seen) == ("full", available, evictable, 0, 0, 0, total)


def test_busy_checks_are_busy():
    (seen,) = read(f"AssertionError: SWA Pool Mem Leak Detected! {new_terms('swa', 1, 2, 9)}\n")
    assert (seen.busy, seen.raised, seen.pool) == (True, True, "swa")
    (seen,) = read(f"{head()} [Mem Check (BUSY)] {new_terms('full', 4, 5, 9)}\n")
    assert (seen.busy, seen.raised, seen.gap) == (True, False, 0)


def test_a_busy_check_takes_its_terms_from_the_line_before():
    (seen,) = read(
        f"{head()} [Mem Check (BUSY)] available_size=60, evictable_size=20, protected_size=5, "
        "uncached_size=7\n"
        + died_of(
            "AssertionError: Mem Leak Detected! total_tokens=95 vs self.max_total_num_tokens=100\n",
            rank="TP0",
        )
    )
    assert numbers(seen) == ("full", 60, 20, 5, 3, 7, 100)


def test_a_check_that_breaks_off_gives_what_is_there():
    (seen,) = read(
        "ValueError: pool memory leak detected! [full] total=205888, available=205888,\n"
        "evictable=0, protected=-12, session_hel…\n"
    )
    assert (seen.protected, seen.gap, seen.session_held) == (-12, 12, 0)


def test_a_raised_check_without_numbers_is_a_death():
    (seen,) = read("ValueError: token_to_kv_pool_allocator memory leak detected!\n")
    assert isinstance(seen, Crash)
    assert "memory leak detected" in seen.message


def test_the_rank_of_a_raised_check_stands_in_its_traceback():
    (seen,) = read(died_of(old_check(10, 0, 12, prefix="ValueError: ")))
    assert isinstance(seen, Observation)
    assert (seen.place.rank, seen.place.line, seen.raised) == ("DP1 TP1", 4, True)
    assert seen.place.time_s is not None


def test_one_check_printed_twice_is_seen_once():
    check = old_check(10, 0, 12)
    both = f"s.py:1: UserWarning: {check}\n" + died_of(f"ValueError: {check}", rank="TP3")
    (seen,) = read(both)
    assert (seen.place.rank, seen.place.line, seen.raised) == ("TP3", 1, True)
    tagged = f"{head()} pool memory leak detected! {new_terms('full', 1, 2, 9)}\n"
    assert len(read(tagged + tagged)) == 2
    assert len(read(tagged + tagged.replace("TP0", "TP1"))) == 2


def test_the_watchdog_prints_no_check():
    assert not read(
        "self.cur_batch_for_debug.batch_size()=1\nself.cur_batch_for_debug.reqs=[]\n"
        f"{new_terms('full', 1, 2, 9)}\n"
    )
    assert not read(
        "self.token_to_kv_pool_allocator.available_size()=100\nself.tree_cache.evictable_size()=20\n"
    )
    assert not read("[swa] unified ring (leak-check skipped): available=1, evictable=2, total=9\n")


def test_another_rank_s_line_is_no_continuation():
    first, second = read(
        f"{head(rank='TP0')} pool memory leak detected! {new_terms('full', 1, 2, 9)}\n"
        f"{head(rank='TP1')} {new_terms('swa', 3, 4, 9)}\n"
    )
    assert (first.place.rank, first.pool) == ("TP0", "full")
    assert (second.place.rank, second.pool) == ("TP1", "swa")


def test_sglang_jax_lists_the_pools_of_every_rank_of_its_process():
    seen = read(
        "ValueError: token_to_kv_pool_allocator memory leak detected!\n"
        "[dp=0] expected=4096, avail=3840, evict=128, protected=0\n"
        "[dp=2] expected=4096, avail=4160, evict=0, protected=0\n"
        "[dp=3][swa] expected=512, swa_avail=448, swa_evict=0, swa_protected=0\n"
    )
    assert [(one.place.rank, one.pool, one.gap) for one in seen] == [
        ("DP0", "full", 128),
        ("DP2", "full", -64),
        ("DP3", "swa", 64),
    ]
    assert {(one.place.engine, one.raised) for one in seen} == {("sglang-jax", True)}
