"""The first half of a profile: what an engine is called, where it runs, and how fast it is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, TypeVar

T = TypeVar("T")


def setting(default: T, meaning: str, source: str = "") -> T:
    """A profile field: its default, what it means, and the engine, version and file it is from."""
    metadata = {"meaning": meaning, "source": source}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupFields:
    """Name, topology, memory, and times in virtual microseconds."""

    name: str
    description: str
    defects: tuple[str, ...] = setting((), "Known bugs of this engine, see `kvreplay profiles`.")

    # Topology. A DP rank has its own scheduler and its own pool; TP ranks of one DP rank share one.
    prefill_instances: int = setting(1, "Prefill servers.")
    prefill_tp: int = setting(8, "TP ranks of a prefill server, over all its DP ranks.")
    prefill_dp: int = setting(1, "DP ranks of a prefill server.")
    decode_instances: int = setting(1, "Decode servers.")
    decode_tp: int = setting(8, "TP ranks of a decode server, over all its DP ranks.")
    decode_dp: int = setting(8, "DP ranks of a decode server; they step together.")
    mla: bool = setting(
        True,
        "Multi-head latent attention: KV is the same on all TP ranks, one sender is enough.",
        "sglang 0.4.6.post4 disaggregation/mooncake/conn.py (MooncakeKVReceiver.__init__)",
    )
    mixed_tp_needs_mla: bool = setting(
        False,
        "Whether different TP sizes per DP rank are refused without MLA.",
        "sglang 0.4.6.post4 disaggregation/mooncake/conn.py (MooncakeKVReceiver.__init__ asserts)",
    )
    bootstrap_rooms: int = setting(
        0,
        "How many room numbers there are before the router uses them again; 0: never again.",
        "sglang 0.4.6.post4 disaggregation/mini_lb.py draws them at random from 2**63",
    )
    decode_allocates: Literal["before-prefill", "after-prefill"] = setting(
        "before-prefill",
        "Whether decode gives its pages before the prompt is computed (prefill pushes), or "
        "afterwards (decode pulls, and prefill holds the prompt until then).",
        "before: sglang disaggregation/decode.py (pop_preallocated); after: vllm 0.33.0 "
        "v1/core/sched/scheduler.py (WAITING_FOR_REMOTE_KVS)",
    )

    # Memory, for each DP rank.
    page_size: int = setting(64, "Tokens of a page.")
    total_tokens: int = setting(13_858_304, "Tokens of a decode pool.")
    prefill_total_tokens: int = setting(13_858_304, "Tokens of a prefill pool.")
    kv_bytes_per_token: int = setting(
        0,
        "Bytes of KV really stored, copied and compared for each token, in whole words of 8 bytes "
        "a page; 0 keeps one word a page, which is enough to tell every page's contents apart.",
    )
    allocator_sorts_pages: bool = setting(
        False,
        "Whether freed pages are staged, and merged in sorted when the free list runs short. "
        "Decides which pages a request gets, not how many.",
        "need_sort: sglang 0.5.23 mem_cache/kv_cache_configurator.py; 0.4.6 has none",
    )
    reserved_decode_tokens: int = setting(
        512,
        "Tokens kept free for each admitted request.",
        "sglang 0.4.6.post4 disaggregation/decode.py (SGLANG_NUM_RESERVED_DECODE_TOKENS)",
    )
    request_slots: int = setting(
        4096,
        "Requests that may hold pages on one rank.",
        "sglang 0.4.6.post4 mem_cache/memory_pool.py (ReqToTokenPool)",
    )
    max_running_requests: int = setting(
        4096,
        "Requests that may decode together on one rank; others wait with their KV in place.",
        "sglang 0.4.6.post4 disaggregation/decode.py (get_new_prebuilt_batch)",
    )
    metadata_slots: int = setting(
        8192,
        "First-token buffers of a decode rank.",
        "sglang 0.4.6.post4 managers/scheduler.py (init_disaggregation): twice the request slots",
    )
    prefill_metadata_slots: int = setting(
        8192,
        "First-token buffers of a prefill rank, held from bootstrap to the last acknowledgement.",
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

    # Time. A prefill batch takes a base and so much per thousand tokens; a decode iteration a base
    # and so much per request of the fullest rank; a transfer a base and so much per page.
    prefill_step_us: int = setting(5_000, "What a prefill batch takes at least.")
    prefill_us_per_1k_tokens: int = setting(15_000, "What a thousand prompt tokens add.")
    decode_step_us: int = setting(18_000, "What a decode iteration takes at least.")
    decode_step_us_per_request: int = setting(120, "What a request of the fullest rank adds.")
    overlap_schedule: bool = setting(
        True,
        "Whether decode results are processed one iteration late, so that a finished request runs "
        "once more and takes one token more before it is released.",
        "sglang 0.4.6.post4 disaggregation/decode.py (event_loop_overlap_disagg_decode), "
        "managers/scheduler_output_processor_mixin.py ('Free the one extra delayed token')",
    )
    prebuilt_takes_iteration: bool = setting(
        False,
        "Whether the iteration that batches arrived requests decodes nothing.",
        "sglang 0.4.6.post4 disaggregation/decode.py (get_next_disagg_decode_batch_to_run)",
    )
    retracts_first: Literal["fewest-decoded", "last"] = setting(
        "fewest-decoded",
        "Who is retracted when the pool runs dry: who has decoded least (of these the longest "
        "prompt), or the last of the batch.",
        "sglang 0.4.6.post4 managers/schedule_batch.py (retract_decode); last: vllm 0.33.0 "
        "v1/core/sched/scheduler.py (schedule)",
    )
    poll_interval_us: int = setting(1_000, "How often an engine with nothing to run looks around.")
    transfer_us: int = setting(1_500, "What the transfer of a chunk takes at least.")
    transfer_us_per_page: int = setting(20, "What a page adds.")
    transfer_skew_us: int = setting(
        0, "How much later each further pair of TP ranks is done with its share of the bytes."
    )
    sends_chunks: bool = setting(
        True,
        "Whether each chunk of a long prompt is sent as soon as it is computed.",
        "sglang 0.4.6.post4 disaggregation/prefill.py (process_prefill_chunk, send_kv_chunk)",
    )
    completion_latency_us: int = setting(300, "From the last byte landed until the receiver knows.")
    control_latency_us: int = setting(500, "A message from one side to the other.")
