"""The first half of a profile: name, deployment and speed of an engine."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, TypeVar

T = TypeVar("T")


def setting(default: T, meaning: str, source: str = "") -> T:
    """A profile field: its default, its meaning, and its source (engine, version and file)."""
    metadata = {"meaning": meaning, "source": source}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupFields:
    """Name, topology, memory, and times in virtual microseconds."""

    name: str
    description: str
    defects: tuple[str, ...] = setting((), "Known bugs of this engine, see `kvreplay profiles`.")

    # Topology. A DP rank has its own scheduler and its own pool; TP ranks of one DP rank share one.
    prefill_instances: int = setting(1, "Number of prefill servers.")
    prefill_tp: int = setting(8, "TP ranks of a prefill server, summed over its DP ranks.")
    prefill_dp: int = setting(1, "DP ranks of a prefill server.")
    decode_instances: int = setting(1, "Number of decode servers.")
    decode_tp: int = setting(8, "TP ranks of a decode server, summed over its DP ranks.")
    decode_dp: int = setting(8, "DP ranks of a decode server; they step in lockstep.")
    mla: bool = setting(
        True,
        "Multi-head latent attention: KV is the same on all TP ranks, so one sender is enough.",
        "sglang 0.4.6.post4 disaggregation/mooncake/conn.py (MooncakeKVReceiver.__init__)",
    )
    mixed_tp_needs_mla: bool = setting(
        False,
        "Refuse different TP sizes per DP rank without MLA.",
        "sglang 0.4.6.post4 disaggregation/mooncake/conn.py (MooncakeKVReceiver.__init__ asserts)",
    )
    bootstrap_rooms: int = setting(
        0,
        "Number of bootstrap rooms before the router reuses them; 0: rooms are never reused.",
        "sglang 0.4.6.post4 disaggregation/mini_lb.py draws them at random from 2**63",
    )
    decode_allocates: Literal["before-prefill", "after-prefill"] = setting(
        "before-prefill",
        "When decode allocates pages: before the prompt is computed (prefill pushes), or afterwards "
        "(decode pulls, and prefill holds the prompt until then).",
        "before: sglang disaggregation/decode.py (pop_preallocated); after: vllm 0.33.0 "
        "v1/core/sched/scheduler.py (WAITING_FOR_REMOTE_KVS)",
    )

    # Memory, for each DP rank.
    page_size: int = setting(64, "Tokens per page.")
    total_tokens: int = setting(13_858_304, "Tokens of a decode pool.")
    prefill_total_tokens: int = setting(13_858_304, "Tokens of a prefill pool.")
    kv_bytes_per_token: int = setting(
        0,
        "Bytes of KV that are stored, copied and compared for each token, in whole words of 8 bytes per "
        "page; 0 stores one word per page, which is enough to distinguish the contents of all pages.",
    )
    allocator_sorts_pages: bool = setting(
        False,
        "Stage freed pages, and merge them sorted when the free list runs short. This affects which "
        "pages a request gets, not how many.",
        "need_sort: sglang 0.5.23 mem_cache/kv_cache_configurator.py; 0.4.6 has none",
    )
    reserved_decode_tokens: int = setting(
        512,
        "Tokens kept free for each admitted request.",
        "sglang 0.4.6.post4 disaggregation/decode.py (SGLANG_NUM_RESERVED_DECODE_TOKENS)",
    )
    request_slots: int = setting(
        4096,
        "Maximum number of requests that hold pages on one rank.",
        "sglang 0.4.6.post4 mem_cache/memory_pool.py (ReqToTokenPool)",
    )
    max_running_requests: int = setting(
        4096,
        "Maximum number of requests in a rank's decode batch; others wait with their KV in place.",
        "sglang 0.4.6.post4 disaggregation/decode.py (get_new_prebuilt_batch)",
    )
    metadata_slots: int = setting(
        8192,
        "First-token buffers of a decode rank.",
        "sglang 0.4.6.post4 managers/scheduler.py (init_disaggregation): twice the request slots",
    )
    prefill_metadata_slots: int = setting(
        8192,
        "First-token buffers of a prefill rank, held from bootstrap until the last acknowledgement.",
        "sglang 0.4.6.post4 disaggregation/prefill.py (pop_bootstrapped)",
    )
    prefill_cache: Literal["radix", "chunk"] = setting(
        "radix",
        "Prefix cache of the prefill side; the decode side has none.",
        "sglang 0.4.6.post4 server_args.py (decode is forced to the chunk cache)",
    )
    chunked_prefill_tokens: int = setting(
        16_384, "Prompt tokens of one prefill batch.", "sglang 0.4.6.post4 server_args.py"
    )

    # Time. A prefill batch takes a base plus an amount per thousand tokens; a decode iteration a base
    # plus an amount per request of the fullest rank; a transfer a base plus an amount per page.
    prefill_step_us: int = setting(5_000, "Base time of a prefill batch.")
    prefill_us_per_1k_tokens: int = setting(
        15_000, "Additional time of a prefill batch per thousand prompt tokens."
    )
    decode_step_us: int = setting(18_000, "Base time of a decode iteration.")
    decode_step_us_per_request: int = setting(
        120, "Additional time of a decode iteration per request of the fullest rank."
    )
    overlap_schedule: bool = setting(
        True,
        "Process decode results one iteration late, so that a finished request runs once more and "
        "takes one more token before it is released.",
        "sglang 0.4.6.post4 disaggregation/decode.py (event_loop_overlap_disagg_decode), "
        "managers/scheduler_output_processor_mixin.py ('Free the one extra delayed token')",
    )
    prebuilt_takes_iteration: bool = setting(
        False,
        "The iteration that adds arrived requests to the batch decodes nothing.",
        "sglang 0.4.6.post4 disaggregation/decode.py (get_next_disagg_decode_batch_to_run)",
    )
    retracts_first: Literal["fewest-decoded", "last"] = setting(
        "fewest-decoded",
        "The request to retract when the pool is exhausted: the one with the fewest decoded tokens "
        "(of these the longest prompt), or the last of the batch.",
        "sglang 0.4.6.post4 managers/schedule_batch.py (retract_decode); last: vllm 0.33.0 "
        "v1/core/sched/scheduler.py (schedule)",
    )
    poll_interval_us: int = setting(
        1_000, "Time between two polls of an engine with nothing to run."
    )
    transfer_us: int = setting(1_500, "Base time of the transfer of a chunk.")
    transfer_us_per_page: int = setting(20, "Additional time of a transfer per page.")
    transfer_skew_us: int = setting(
        0, "Delay of each further pair of TP ranks in finishing its share of the bytes."
    )
    sends_chunks: bool = setting(
        True,
        "Send each chunk of a long prompt as soon as it is computed.",
        "sglang 0.4.6.post4 disaggregation/prefill.py (process_prefill_chunk, send_kv_chunk)",
    )
    completion_latency_us: int = setting(
        300, "Time from the landing of the last byte until the completion is delivered."
    )
    control_latency_us: int = setting(500, "Time of a control message from one side to the other.")
