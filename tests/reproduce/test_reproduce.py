"""Two numbers in, the same two numbers out, or a clear word why not."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.reproduce.from_numbers import subset_with_sum


@given(st.lists(st.integers(1, 12), max_size=10), st.integers(1, 60))
def test_subset_sum_agrees_with_trying_every_subset(weights, target):
    every = itertools.chain.from_iterable(
        itertools.combinations(weights, size) for size in range(len(weights) + 1)
    )
    exists = any(sum(subset) == target for subset in every)
    found = subset_with_sum(weights, target)
    assert (found is not None) == exists
    if found is not None:
        assert len(set(found)) == len(found)
        assert sum(weights[index] for index in found) == target


@pytest.mark.slow
@pytest.mark.parametrize(
    ("available", "total", "page_size", "persistence"),
    [
        (13824256, 13858304, 64, "persistent"),
        (13824256, 13858304, 64, "transient"),
        (13824256, 13858304, 1, "persistent"),
        (961586, 961593, 1, "transient"),
        (644, 270331, 1, "persistent"),
        (3189424, 3185200, 16, "persistent"),
        (4032, 4096, 64, "persistent"),
        (0, 4096, 64, "transient"),
    ],
)
def test_the_very_numbers_come_out(kvreplay, tmp_path, available, total, page_size, persistence):
    words = ("--available", available, "--total", total, "--page-size", page_size)
    out = tmp_path / "A"
    code, text, _ = kvreplay("reproduce", *words, "--as", persistence, "--out", out, "--json")
    summary = json.loads(text)
    mismatch = summary["mismatch"]
    assert code == 0
    assert summary["verdict"] == persistence
    assert (mismatch["available"], mismatch["evictable"]) == (available, 0)
    assert (mismatch["total"], mismatch["gap"]) == (total, total - available)
    assert mismatch["pages"] * page_size == total - available
    assert mismatch["quiet"]
    first, second, third = summary["engine_message"].splitlines()
    assert first == (
        "token_to_kv_pool_allocator memory leak detected! "
        f"available_size={available}, protected_size=0, self.max_total_num_tokens={total}"
    )
    assert second == f"self.token_to_kv_pool_allocator.available_size()={available}"
    assert third == "self.tree_cache.evictable_size()=0"
    assert (out / "recording" / "summary.json").is_file()


def test_the_printed_line_gives_the_same_recording(kvreplay, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, _, text = kvreplay(
        "reproduce", "--available", 4032, "--total", 4096, "--set", "decode_dp=1", "--out", "A"
    )
    line = next(line for line in text.splitlines() if line.startswith("reproduce: "))
    words = line.removeprefix("reproduce: kvreplay ").split()
    kvreplay(*words, "--out", "again")
    for name in ("audits", "events", "owners", "requests"):
        first = tmp_path / "A" / "recording" / f"{name}.parquet"
        assert first.read_bytes() == (tmp_path / "again" / f"{name}.parquet").read_bytes()


def test_requests_of_a_given_trace_are_chosen(make_trace, kvreplay, tmp_path):
    trace = make_trace(requests=400, turns_mean=1.0)
    words = ("--available", 1_000_000 - 64_000, "--total", 1_000_000, "--page-size", 16)
    code, text, _ = kvreplay(
        "reproduce", *words, "--trace", trace, "--out", tmp_path / "A", "--json"
    )
    summary = json.loads(text)
    assert code == 0
    assert summary["mismatch"]["available"] == 936_000
    assert summary["requests"]["total"] == 400


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--available", 13824255, "--total", 13858304), "not whole pages of 64"),
        (("--available", 100, "--total", 100, "--page-size", 1), "no gap"),
        (("--available", -5, "--total", 100, "--page-size", 1), "go from 0"),
        (("--available", 3189424, "--total", 3185200, "--page-size", 16, "--as", "transient"),
         "does not heal"),
        (("--available", 0, "--total", 64, "--profile", "sglang"), "no profile of that name"),
    ],
)  # fmt: skip
def test_what_no_set_of_requests_can_make_is_said(kvreplay, tmp_path, words, sentence):
    code, out, err = kvreplay("reproduce", *words, "--out", tmp_path / "A")
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err
    assert not (tmp_path / "A").exists()


def test_a_profile_that_heals_everything_does_not_pretend(kvreplay, tmp_path):
    words = ("--available", 4032, "--total", 4096, "--profile", "hardened", "--out", tmp_path / "A")
    code, out, err = kvreplay("reproduce", *words, "--json")
    assert code == 1
    assert json.loads(out)["verdict"] == "transient"
    assert "did not give" in err
