"""Same trace, profile, plan and seed: the same bytes. Anything else: a reason to look."""

import json

import pyarrow.parquet as pq
import pytest
import torch
from late_arrays import LateArrays

import replay.run.replay_once
from replay.pool.device_arrays import DeviceArrays

TABLES = ("audits", "events", "owners", "requests", "contents", "pages", "episodes")
FAULTS = ("--drop", "0.03", "--delay", "0.05:700", "--duplicate", "0.05")


def contents(directory):
    """Every file of a recording, without what may depend on the host or the wall clock."""
    files = {name: (directory / f"{name}.parquet").read_bytes() for name in TABLES}
    run = json.loads((directory / "run.json").read_text())
    summary = json.loads((directory / "summary.json").read_text())
    del run["environment"], summary["timing"]
    return files | {"run": run, "summary": summary}


@pytest.mark.parametrize("profile", ["sglang-0.4.6.post4", "hardened"])
def test_one_seed_repeats_byte_for_byte_and_another_differs(
    make_trace, kvreplay, tmp_path, profile
):
    trace = make_trace(abort_rate=0.1)
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        kvreplay(
            "run", trace, "--profile", profile, *FAULTS, "--seed", seed, "--out", tmp_path / name
        )
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a")["events"] != contents(tmp_path / "c")["events"]


def test_tensors_and_host_views_give_one_recording(make_trace, kvreplay, tmp_path, monkeypatch):
    """The path that a CUDA device takes, run on CPU tensors, sees exactly the same pages."""
    trace = make_trace(requests=60, abort_rate=0.1)
    words = ("run", trace, "--profile", "sglang-0.5.23", *FAULTS, "--set", "kv_bytes_per_token=3")
    kvreplay(*words, "--out", tmp_path / "host")
    monkeypatch.setattr(replay.run.replay_once, "arrays_on", DeviceArrays)
    kvreplay(*words, "--device", "cpu", "--out", tmp_path / "tensors")
    assert contents(tmp_path / "host") == contents(tmp_path / "tensors")
    assert torch.device("cpu") == DeviceArrays(torch.device("cpu")).device


@pytest.mark.parametrize("profile", ["sglang-0.4.6.post4", "hardened"])
def test_transfers_on_their_own_stream_cannot_be_told(
    make_trace, kvreplay, tmp_path, monkeypatch, profile
):
    """However late a side stream copies: small pools, so that pages change hands under way."""
    trace = make_trace(requests=80, abort_rate=0.2, rate_per_s=30.0)
    words = ("run", trace, "--profile", profile, *FAULTS, "--set", "kv_bytes_per_token=3")
    words += ("--set", "total_tokens=16384", "--set", "prefill_total_tokens=16384")
    kvreplay(*words, "--out", tmp_path / "at-once")
    late = LateArrays(torch.device("cpu"))
    monkeypatch.setattr(replay.run.replay_once, "arrays_on", lambda _: late)
    kvreplay(*words, "--device", "cpu", "--out", tmp_path / "late")
    assert late.most_at_once > 1
    assert contents(tmp_path / "at-once") == contents(tmp_path / "late")


@pytest.mark.slow
def test_leaping_sees_what_single_steps_see(make_trace, kvreplay, tmp_path):
    """Every decode step on its own or many at once: same events, same fates, same gaps."""
    trace = make_trace(requests=50, abort_rate=0.2, output_tokens_median=60)
    words = ("run", trace, "--profile", "sglang-0.5.23", *FAULTS, "--set", "page_size=4")
    kvreplay(*words, "--out", tmp_path / "leap")
    kvreplay(*words, "--audit", "every-step", "--out", tmp_path / "steps")
    for name in ("events", "requests", "contents"):
        leap, steps = (tmp_path / each / f"{name}.parquet" for each in ("leap", "steps"))
        assert leap.read_bytes() == steps.read_bytes(), name
    leap, steps = (pq.read_table(tmp_path / each / "audits.parquet") for each in ("leap", "steps"))
    assert steps.num_rows > 2 * leap.num_rows
    for column in ("opened_us", "closed_us", "gap_tokens", "quiet_gap_tokens"):
        of_leap, of_steps = (
            pq.read_table(tmp_path / each / "episodes.parquet")[column].to_pylist()
            for each in ("leap", "steps")
        )
        assert of_leap == of_steps, column
