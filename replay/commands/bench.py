"""`kvreplay bench`: what a replay costs, as ratios of two things timed in one run."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replay.commands.options import DEVICE, example

if TYPE_CHECKING:
    from replay.pool.arrays import Arrays

#: The pools of the field notes: about a hundred thousand tokens, and the story's.
_SMALL_TOKENS, _LARGE_TOKENS = 100_096, 13_858_304
_TOUCHED_TOKENS = 2_048
_ROUNDS = 2_000


@click.group(epilog=example("kvreplay bench allocator"))
def bench() -> None:
    """Measure what allocations and replays cost on this machine."""


@bench.command(
    short_help="Compare allocations in a small and a large pool.",
    epilog=example("kvreplay bench allocator --json"),
)
@DEVICE
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def allocator(device: str, as_json: bool) -> None:
    """Allocate and free 2,048 tokens in a small and in a large pool, page sizes 1 and 64.

    The pools take turns in one process. Ratios are large over small: 1 means that the size of the
    pool costs nothing. `ratio` compares medians; `ratio_of_means` includes the rare merges of
    sorted lists and the first writes to new memory.
    """
    from replay.run.device import arrays_on, choose_device

    arrays = arrays_on(choose_device(device))
    results = []
    for page_size, sorts_pages in itertools.product((1, 64), (False, True)):
        small_us, large_us = _pair_costs(page_size, sorts_pages, arrays)
        small, large = statistics.median(small_us), statistics.median(large_us)
        results.append(
            {
                "page_size": page_size,
                "sorts_pages": sorts_pages,
                "small_pool_us": round(small, 2),
                "large_pool_us": round(large, 2),
                "ratio": round(large / small, 3),
                "ratio_of_means": round(statistics.mean(large_us) / statistics.mean(small_us), 3),
            }
        )
    _show({"device": str(arrays.device), "alloc_free_2048_tokens": results}, as_json)


@bench.command(
    short_help="Compare a replay on host views and on tensors.",
    epilog=example("kvreplay bench replay kvreplay-demo/trace.parquet"),
)
@click.argument("trace", type=click.Path(path_type=Path))
@click.option(
    "--profile",
    "profile_name",
    default="hardened",
    show_default=True,
    help="Engine profile (see `profiles`).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def replay(trace: Path, profile_name: str, as_json: bool) -> None:
    """Replay TRACE on the CPU twice: on host views of the tensors, and on the tensors themselves."""
    from replay.profiles.catalogue import find_profile

    profile = find_profile(profile_name)
    from traces.dataset import open_trace

    requests = open_trace(trace).request_count
    # From here on torch is loaded, which takes seconds: after what can be wrong.
    import resource

    import torch

    from faults.rule import FaultPlan
    from replay.pool.arrays import HostArrays
    from replay.pool.device_arrays import DeviceArrays
    from replay.run.replay_once import ReplayRequest
    from replay.run.replay_once import replay as replay_once
    from replay.run.session import SessionOptions

    def cpu_s(arrays: Arrays) -> float:
        request = ReplayRequest(
            trace=open_trace(trace),
            profile=profile,
            plan=FaultPlan(),
            options=SessionOptions(),
            device="cpu",
            arrays=arrays,
        )
        seconds: float = replay_once(request)["timing"]["cpu_s"]
        return seconds

    torch.set_num_threads(1)
    host_s = cpu_s(HostArrays())
    resident_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    tensors_s = cpu_s(DeviceArrays(torch.device("cpu")))
    _show(
        {
            "requests": requests,
            "host_views_cpu_s": round(host_s, 2),
            "tensors_cpu_s": round(tensors_s, 2),
            "ratio": round(tensors_s / host_s, 2),
            "requests_per_cpu_s": round(requests / host_s),
            "resident_mb": resident_mb,
        },
        as_json,
    )


def _pair_costs(
    page_size: int, sorts_pages: bool, arrays: Arrays
) -> tuple[list[float], list[float]]:
    """Microseconds of an allocation and its release in a small and in a large pool, each round."""
    from replay.pool.allocator import create_allocator

    pages = _TOUCHED_TOKENS // page_size
    pools = [
        create_allocator(tokens // page_size, page_size, arrays, sorts_pages)
        for tokens in (_SMALL_TOKENS, _LARGE_TOKENS)
    ]

    small_us: list[float] = []
    large_us: list[float] = []
    for _ in range(_ROUNDS):
        for pool, costs_us in zip(pools, (small_us, large_us), strict=True):
            started_ns = time.perf_counter_ns()
            pool.free(pool.alloc(pages))
            costs_us.append((time.perf_counter_ns() - started_ns) / 1e3)
    return small_us, large_us


def _show(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    for name, value in document.items():
        if isinstance(value, list):
            click.echo(f"{name}:")
            for row in value:
                click.echo("  " + ", ".join(f"{key} {each}" for key, each in row.items()))
        else:
            click.echo(f"{name}: {value}")
