"""Which scraped gauges say what, and which labels say whose they are.

Names: sglang 0.5.23 `srt/observability/metrics_collector.py` (0.4.6 has the first few of them),
vllm 0.33.0 `v1/metrics/loggers.py`. A usage is a share from 0 to 1 in both, in spite of vLLM's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gauge:
    """Where a gauge goes in a load; a higher rank replaces a lower one that says the same."""

    engine: str
    #: Pool, or empty where it is about requests.
    pool: str
    field: str
    rank: int = 0


_S, _V = "sglang", "vllm"
GAUGES: Mapping[str, Gauge] = {
    "sglang:token_usage": Gauge(_S, "full", "usage"),
    "sglang:full_token_usage": Gauge(_S, "full", "usage", 1),
    "sglang:swa_token_usage": Gauge(_S, "swa", "usage"),
    "sglang:mamba_usage": Gauge(_S, "mamba", "usage"),
    "sglang:num_used_tokens": Gauge(_S, "full", "used_tokens"),
    "sglang:kv_used_tokens": Gauge(_S, "full", "used_tokens", 1),
    "sglang:swa_used_tokens": Gauge(_S, "swa", "used_tokens"),
    "sglang:mamba_used_tokens": Gauge(_S, "mamba", "used_tokens"),
    "sglang:max_total_num_tokens": Gauge(_S, "full", "total_tokens"),
    "sglang:max_total_num_tokens_swa": Gauge(_S, "swa", "total_tokens"),
    "sglang:num_running_reqs": Gauge(_S, "", "running"),
    "sglang:num_queue_reqs": Gauge(_S, "", "queued"),
    "sglang:num_decode_prealloc_queue_reqs": Gauge(_S, "", "prealloc"),
    "sglang:num_decode_transfer_queue_reqs": Gauge(_S, "", "transferring"),
    "sglang:num_prefill_inflight_queue_reqs": Gauge(_S, "", "inflight"),
    "sglang:num_prefill_bootstrap_queue_reqs": Gauge(_S, "", "bootstrapping"),
    "sglang:prealloc_full_token_usage": Gauge(_S, "", "preallocated_usage"),
    "vllm:kv_cache_usage_perc": Gauge(_V, "full", "usage"),
    # Before 0.10.
    "vllm:gpu_cache_usage_perc": Gauge(_V, "full", "usage"),
    "vllm:num_requests_running": Gauge(_V, "", "running"),
    "vllm:num_requests_waiting": Gauge(_V, "", "queued"),
}
#: Gauges that are shares; the others are whole numbers.
SHARES = ("usage", "preallocated_usage")

_RANKS = (("dp_rank", "DP"), ("tp_rank", "TP"), ("pp_rank", "PP"), ("engine", "engine "))
_SERVERS = ("namespace", "pod", "instance", "job", "engine_type")


def rank_of(labels: Mapping[str, str]) -> str:
    """Whose gauge it is, as engines tag ranks."""
    return " ".join(f"{tag}{labels[name]}" for name, tag in _RANKS if labels.get(name))


def server_of(labels: Mapping[str, str]) -> str:
    """Which of several scraped servers it is; empty where nothing tells them apart."""
    return " ".join(labels[name] for name in _SERVERS if labels.get(name))


def is_partial(labels: Mapping[str, str]) -> bool:
    """Whether a sample is a part of another: the requests of one priority."""
    return bool(labels.get("priority"))
