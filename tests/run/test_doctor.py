"""`kvreplay doctor`, and what a replay says when its pools do not fit."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

import replay.run.doctor
import replay.run.replay_once
from replay.errors import DeviceError
from replay.pool.allocator import create_allocator
from replay.pool.arrays import HostArrays
from replay.pool.pool import KvPool
from replay.profiles.catalogue import find_profile
from replay.profiles.footprint import enough_memory, footprints, memory_of, show_bytes, total_bytes
from replay.run.doctor import KV_SHAPES, widest_kv

CPU = torch.device("cpu")
PROFILE = find_profile("sglang-0.5.23")


@pytest.fixture
def with_memory(monkeypatch):
    """Make the device seem to have this many free bytes."""

    def pretend(free):
        monkeypatch.setattr(replay.run.doctor, "memory_of", lambda _: (2 * free, free))

    return pretend


def test_it_says_what_is_here_and_what_fits(kvreplay):
    code, out, err = kvreplay("doctor", "--device", "cpu")
    assert (code, err) == (0, "")
    for words in (f"torch {torch.__version__}", "cpu", "CUDA: ", "8 x decode", "fits: ", "Llama"):
        assert words in out, words


def test_json_adds_up(kvreplay):
    code, out, _ = kvreplay("doctor", "--device", "cpu", "--profile", "sglang-0.5.23", "--json")
    document = json.loads(out)
    assert (code, document["schema"], document["fits"]) == (0, "kvreplay.doctor/1", True)
    assert document["needed_bytes"] == sum(side["all_bytes"] for side in document["pools"])
    for side in document["pools"]:
        assert side["all_bytes"] == side["pools"] * side["pool_bytes"]
        assert side["pages"] * document["profile"]["page_size"] == side["tokens"]
    assert document["cuda"]["usable"] == torch.cuda.is_available()
    assert document["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize("free", [300_000_000, 20_000_000_000])
def test_the_widest_kv_fits_and_nothing_wider(kvreplay, with_memory, free):
    with_memory(free)
    words = ("doctor", "--device", "cpu", "--profile", "sglang-0.5.23")
    code, out, _ = kvreplay(*words, "--json")
    widest = json.loads(out)["widest_kv_bytes_per_token"]
    assert (code, widest) == (0, widest_kv(PROFILE, int(free * 0.9)))
    assert kvreplay(*words, "--set", f"kv_bytes_per_token={widest}")[0] == 0
    code, out, _ = kvreplay(*words, "--set", f"kv_bytes_per_token={widest + 1}")
    assert code == 1
    assert "DOES NOT FIT" in out
    assert f"kv_bytes_per_token={widest}" in out


def test_pools_that_can_never_fit(kvreplay, with_memory):
    with_memory(1_000_000)
    code, out, _ = kvreplay("doctor", "--device", "cpu")
    assert code == 1
    assert "not even the narrowest KV fits" in out


def test_bad_input(kvreplay):
    for words in (
        ("--profile", "sglang-9"),
        ("--set", "kv_bytes_per_token"),
        ("--set", "kv_bytes_per_token=wide"),
        *([] if torch.cuda.is_available() else [("--device", "cuda")]),
    ):
        code, out, err = kvreplay("doctor", *words)
        assert (code, out) == (2, ""), words
        assert err


@pytest.mark.parametrize("page_size", [1, 64])
@pytest.mark.parametrize("kv_bytes", [0, 3, 100])
def test_footprints_are_what_pools_allocate(page_size, kv_bytes):
    profile = replace(
        PROFILE,
        page_size=page_size,
        total_tokens=6_400,
        prefill_total_tokens=64_000,
        kv_bytes_per_token=kv_bytes,
    )
    for side in footprints(profile):
        pool = KvPool("p", side.tokens, page_size, profile.kv_words_per_page, HostArrays())
        assert side.pages == pool.total_pages
        assert side.contents_bytes == pool.storage._words.nbytes
        assert side.writers_bytes == pool.storage._written_by.nbytes
        assert side.ledger_bytes == pool.ledger._owner.nbytes
        assert side.block_table_bytes == pool.table._pages.nbytes
    prefill, decode = footprints(profile)
    assert (prefill.pools, decode.pools) == (1, 8)
    assert total_bytes(profile) == prefill.pool_bytes + 8 * decode.pool_bytes


@pytest.mark.parametrize("sorts_pages", [False, True])
@pytest.mark.parametrize("page_size", [1, 64])
def test_no_free_list_grows_beyond_its_bound(page_size, sorts_pages):
    pages = 200_000
    profile = replace(
        PROFILE,
        page_size=page_size,
        total_tokens=pages * page_size,
        allocator_sorts_pages=sorts_pages,
    )
    _, decode = footprints(profile)
    whole = np.random.default_rng(1).permutation(pages) + 1
    tracemalloc.start()
    try:
        allocator = create_allocator(pages, page_size, HostArrays(), sorts_pages)
        for _ in range(3):
            del_pages = allocator.alloc(pages)
            del del_pages
            for start in range(0, pages, 1_000):
                allocator.free(whole[start : start + 1_000])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # What `alloc` gives out is its caller's.
    assert peak <= decode.free_list_grown_bytes + 2 * 8 * pages + (1 << 20)


def test_bytes_of_real_models():
    widths = {shape.model: shape.bytes_per_token for shape in KV_SHAPES}
    assert widths["Llama-3.1-70B"] == 80 * 8 * 128 * 2 * 2 == 327_680
    assert widths["DeepSeek-V3, DeepSeek-R1"] == 61 * (512 + 64) * 2 == 70_272
    assert list(widths.values()) == sorted(widths.values())


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (987, "987 B"),
        (1_480, "1.48 kB"),
        (999_600, "1 MB"),
        (85_900_000_000, "85.9 GB"),
        (974_000_000_000, "974 GB"),
        (8_760_000_000_000_000, "8,760 TB"),
    ],
)
def test_sizes_as_a_person_reads_them(count, text):
    assert show_bytes(count) == text


@pytest.mark.parametrize("width", [10**8, 10**13])
def test_a_replay_whose_pools_do_not_fit_says_so_in_one_sentence(
    make_trace, kvreplay, tmp_path, width
):
    """More than any address space, and more than any array."""
    words = ("run", make_trace(requests=5), "--profile", "hardened", "--device", "cpu")
    out_dir = tmp_path / "recording"
    code, out, err = kvreplay(*words, "--set", f"kv_bytes_per_token={width}", "--out", out_dir)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    for part in ("device cpu: out of memory", "need ", "were free", "total_tokens", "--set"):
        assert part in err, part
    assert not out_dir.exists()


@pytest.mark.parametrize("problem", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_running_out_of_memory_later_is_the_same(make_trace, kvreplay, monkeypatch, problem):
    def run_out(*_):
        raise problem

    monkeypatch.setattr(replay.run.replay_once.Session, "run", run_out)
    code, _, err = kvreplay("run", make_trace(requests=5), "--profile", "hardened")
    assert code == 2
    assert "out of memory; the pools of profile hardened need" in err


def test_other_errors_pass(monkeypatch):
    with pytest.raises(RuntimeError, match="no kernel image"), enough_memory(PROFILE, CPU):
        raise RuntimeError("no kernel image")
    with pytest.raises(DeviceError), enough_memory(PROFILE, CPU):
        raise MemoryError


def test_host_memory_is_plausible():
    total, free = memory_of(CPU)
    assert 0 < free <= total
