"""Whole replays on a CUDA device: they never wait between audits, and see what a CPU sees."""

import gc
import json
from contextlib import ExitStack, contextmanager

import pytest
import torch
from gpu_helpers import needs_cuda, run, write_trace
from no_waiting import NoWaiting, allow_in_waiting_places

from replay.errors import DeviceError
from replay.profiles.catalogue import find_profile
from replay.run.doctor import diagnose

pytestmark = needs_cuda

PROFILES = pytest.mark.parametrize("profile", ["sglang-0.4.6.post4", "sglang-0.5.23", "hardened"])


@contextmanager
def sync_debug_mode(mode):
    """Torch raises on operations that wait for the device ("error"), or not ("default")."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def test_torch_tells_what_waits():
    value = torch.ones(1, device="cuda")
    with sync_debug_mode("error"):
        with pytest.raises(RuntimeError, match="synchroniz"):
            value.item()
        with sync_debug_mode("default"):
            assert value.item() == 1


@PROFILES
def test_a_replay_waits_in_audits_only(tmp_path, monkeypatch, profile):
    """By torch's own account, and with uploads from pageable memory, which torch does not see."""
    trace = write_trace(tmp_path / "trace.parquet")
    mode = NoWaiting()

    @contextmanager
    def allowed():
        with mode.pause(), sync_debug_mode("default"):
            yield

    allow_in_waiting_places(monkeypatch, allowed)
    with ExitStack() as stack:
        stack.enter_context(sync_debug_mode("error"))
        stack.enter_context(mode)
        summary = run(trace, profile, "cuda", kv_bytes_per_token=3)
    assert mode.operations > 1_000
    assert summary["requests"]["finished"] > 30


@PROFILES
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"page_size": 1, "kv_bytes_per_token": 16},
        # Small pools of wide pages: they change hands often, and a copy takes a while.
        {"total_tokens": 32_768, "prefill_total_tokens": 32_768, "kv_bytes_per_token": 4_096},
    ],
    ids=["default", "by token", "small and wide"],
)
def test_cpu_and_cuda_give_one_recording(tmp_path, profile, fields):
    trace = write_trace(tmp_path / "trace.parquet")
    for device in ("cpu", "cuda"):
        run(trace, profile, device, tmp_path / device, **fields)
    on_cpu, on_cuda = (contents(tmp_path / device) for device in ("cpu", "cuda"))
    assert on_cpu.keys() == on_cuda.keys()
    for name in on_cpu:
        assert on_cpu[name] == on_cuda[name], name
    assert {"run.json", "summary.json", "audits.parquet", "requests.parquet"} <= on_cpu.keys()


def contents(directory):
    """Every file of a recording, without what depends on the device or the wall clock."""
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    run_document, summary = (json.loads(files[name]) for name in ("run.json", "summary.json"))
    assert run_document.pop("environment")["device"].startswith(directory.name)
    del summary["timing"]
    return files | {"run.json": run_document, "summary.json": summary}


def test_pools_that_do_not_fit_are_refused_in_one_sentence(tmp_path):
    trace = write_trace(tmp_path / "trace.parquet", requests=5)
    with pytest.raises(DeviceError, match=r"device cuda: out of memory; the pools .* need"):
        run(trace, "hardened", "cuda", tmp_path / "out", kv_bytes_per_token=100_000)
    assert not (tmp_path / "out").exists()
    run(trace, "hardened", "cuda", tmp_path / "out")


def test_the_doctor_s_widest_kv_really_fits(tmp_path):
    profile = find_profile("hardened")
    gc.collect()
    torch.cuda.empty_cache()
    document = diagnose(profile, torch.device("cuda"))
    assert document["cuda"]["usable"]
    assert document["fits"]
    widest = document["widest_kv_bytes_per_token"]
    trace = write_trace(tmp_path / "trace.parquet", requests=20)
    run(trace, "hardened", "cuda", kv_bytes_per_token=widest)
    with pytest.raises(DeviceError):
        run(trace, "hardened", "cuda", kv_bytes_per_token=2 * widest)
