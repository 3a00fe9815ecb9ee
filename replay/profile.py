"""What differs between engines and their versions, as plain data.

`EngineProfile` names every difference as one field, and every field says what it is for and where
it was read; the schedulers read fields and never ask for a name. The defaults are the design that
survives every fault: what a real engine does worse is stated in `replay.profile_catalogue`, and
known bugs are named bundles of fields in `replay.defects`. `--set FIELD=VALUE` overrides any.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, TypeVar

from replay.errors import ProfileError
from replay.parallel import TransferParties, transfer_parties

T = TypeVar("T")

Strictness = Literal["none", "warn", "error"]
MessageStyle = Literal["sglang-0.4", "sglang-0.5", "vllm"]
OnAbort = Literal["ignore", "release"]
OnAbortOfWriter = Literal["ignore", "release", "defer"]


def setting(default: T, meaning: str, source: str = "") -> T:
    """A profile field: its default, what it means, and the engine, version and file it is from."""
    metadata = {"meaning": meaning, "source": source}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile:
    """One engine version and the deployment it runs in. Times are virtual microseconds.

    What each field means and where its behaviour was read stands beside it, and is what
    `kvreplay profiles NAME` and `kvreplay profiles --json` print.
    """

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

    # The engine's own check.
    check_strictness: Strictness = setting(
        "error",
        "Whether the idle check raises and kills the scheduler, prints, or does not exist.",
        "sglang 0.4.6.post3 and post4 managers/scheduler.py (check_memory)",
    )
    decode_check_gate: tuple[str, ...] = setting(
        ("transfer", "prealloc", "waiting", "retracted", "deferred"),
        "Queues that must be empty, beside the batch, before an idle decode rank checks itself.",
        "sglang 0.4.6.post4 disaggregation/decode.py (event_loop_normal_disagg_decode): prealloc "
        "and transfer; waiting from 0.4.8 on",
    )
    prefill_check_gate: tuple[str, ...] = setting(
        ("inflight", "bootstrap", "waiting"),
        "The same for an idle prefill rank.",
        "sglang 0.4.6.post4 disaggregation/prefill.py (event_loop_normal_disagg_prefill): inflight",
    )
    message_style: MessageStyle = setting("sglang-0.5", "Whose words a mismatch is told in.")
    check_counts_protected: bool = setting(
        True,
        "Whether protected cache pages count as accounted for in the engine's formula.",
        "sglang 0.4.6.post4 managers/scheduler.py (check_memory) does not count them",
    )

    # Transfers.
    completion_sent: Literal["landed", "submitted"] = setting(
        "landed", "Whether a completion says that the bytes have landed, or only that they left."
    )
    source_freed: Literal["acknowledged", "submitted"] = setting(
        "acknowledged",
        "When prefill releases a prompt's pages.",
        "sglang 0.4.6.post4 disaggregation/prefill.py (process_disagg_prefill_inflight_queue)",
    )
    counts_completions: Literal["by-sender", "by-number"] = setting(
        "by-sender",
        "Whether completions are told apart by who sent them, or only counted.",
        "by number: sglang 0.4.6.post4 disaggregation/mooncake/conn.py (one status a room); vllm "
        "0.33.0 distributed/kv_transfer/kv_connector/utils.py (KVOutputAggregator)",
    )
    done_when: Literal["every-rank", "any-rank"] = setting(
        "every-rank",
        "Whether all TP ranks must have their completions, or one of them is enough.",
        "sglang 0.4.6.post4 disaggregation/utils.py (poll_and_all_reduce takes the minimum)",
    )
    ranks_agree: bool = setting(
        True,
        "Whether TP ranks agree on what is done before they act; if not, they hang in the next "
        "collective as soon as they differ.",
        "sglang 0.4.6.post4 disaggregation/utils.py (poll_and_all_reduce)",
    )
    expected_senders: Literal["real", "all"] = setting(
        "real",
        "Whether a receiver waits for the senders that send, or also for the dummies.",
        "sglang 0.5.23 disaggregation/common/conn.py (required_prefill_response_num)",
    )
    matches_completions_by: Literal["attempt", "room"] = setting(
        "attempt", "Whether a completion names the attempt it is of, or only its bootstrap room."
    )
    used_rooms: Literal["forgotten", "wedge"] = setting(
        "forgotten",
        "Whether the status of a finished transfer goes, or stays on its room, so that the next "
        "request of that room never gets past prealloc.",
        "sglang 0.4.6.post4 disaggregation/mooncake/conn.py (request_status is never cleaned)",
    )
    metadata_gate: bool = setting(
        True,
        "Whether a completed transfer waits until its first-token buffer bears its own room, and "
        "is given up when it bears another.",
        "sglang 0.5.23 disaggregation/decode.py (_poll_with_metadata_gate)",
    )
    metadata_slot_freed: Literal["with-pages", "at-once"] = setting(
        "with-pages", "When an aborted request gives its first-token buffer back."
    )
    failed_transfer: Literal["raise", "release", "leak"] = setting(
        "release",
        "What a transfer that is reported as failed does to the scheduler and its pages.",
        "sglang 0.4.6.post4 disaggregation/decode.py (pop_transferred raises 'Transfer failed')",
    )
    status_only_rises: bool = setting(
        False,
        "Whether a transfer has one status that only goes up, so that a success hides a failure "
        "told before or after it.",
        "sglang 0.4.6.post4 disaggregation/mooncake/conn.py (update_status takes the max)",
    )
    bootstrap_timeout_us: int | None = setting(
        300_000_000,
        "How long prefill waits for decode's pages; None waits for ever.",
        "sglang 0.5.23 environ.py (SGLANG_DISAGGREGATION_BOOTSTRAP_TIMEOUT)",
    )
    waiting_timeout_us: int | None = setting(
        60_000_000,
        "From preallocation until bytes move; None waits for ever.",
        "sglang 0.5.23 environ.py (SGLANG_DISAGGREGATION_WAITING_TIMEOUT)",
    )
    timeout_asks_sender: bool = setting(
        True, "Whether a waiting timeout starts again while the sender still has the request."
    )
    completion_timeout_us: int | None = setting(
        30_000_000, "From bytes landed until the completion is consumed; None waits for ever."
    )
    acknowledgement_timeout_us: int | None = setting(
        30_000_000, "How long prefill waits for acknowledgements; None waits for ever."
    )
    acknowledgement_timeout_from: Literal["landed", "sent"] = setting(
        "landed",
        "Whether that counts from the last byte landed, or from the end of the prompt, whoever "
        "still reads.",
        "sent: vllm 0.33.0 nixl connector (VLLM_NIXL_ABORT_REQUEST_TIMEOUT)",
    )
    unexpected_completion: Literal["ignore", "crash"] = setting(
        "ignore",
        "What a completion does that nobody waits for.",
        "crash: vllm 0.33.0 v1/core/sched/scheduler.py (_update_from_kv_xfer_finished asserts)",
    )
    duplicate_acknowledgement: Literal["ignore", "free-again", "crash"] = setting(
        "ignore", "What a second acknowledgement of one transfer does on the prefill side."
    )
    misrouted_acknowledgement: Literal["ignore", "release"] = setting(
        "ignore",
        "What an acknowledgement does that arrives as a receive completion.",
        "release: vllm 0.33.0 v1/core/sched/scheduler.py (_update_from_kv_xfer_finished)",
    )
    last_result_before_idle: Literal["kept", "lost"] = setting(
        "kept", "What becomes of the result of a batch after which the rank has nothing to run."
    )
    cleanup_at_exhaustion: Literal["runs", "starved"] = setting(
        "runs", "Whether completions and aborts are looked at while nothing can be admitted."
    )
    release_subtracts_prefix_again: bool = setting(
        False,
        "Whether releasing a prompt takes its cached prefix off the protected counter a second "
        "time; no page is lost.",
    )

    # Client aborts, by the queue they find the request in. A deferred one waits for its writer.
    abort_in_prealloc: OnAbort = setting(
        "release",
        "Abort of a request that waits for decode pages.",
        "sglang 0.4.6.post4 managers/scheduler.py (abort_request looks in the waiting queue only)",
    )
    abort_in_transfer: OnAbortOfWriter = setting(
        "defer",
        "Abort of a request whose KV is on its way.",
        "sglang 0.5.23 disaggregation/decode.py (_defer_release, resolve_deferred_releases)",
    )
    deferred_until: Literal["acknowledged", "completed"] = setting(
        "acknowledged",
        "Whether a deferred release waits for the sender's word that it has stopped, or for the "
        "completion, which may be lost.",
        "completed: vllm 0.33.0 v1/core/sched/scheduler.py (finished_recving)",
    )
    deferred_timeout_us: int | None = setting(
        None,
        "How long a deferred release waits at most, writer or not; None waits for ever.",
        "30 s: sglang 0.5.23 environ.py, disaggregation/decode.py (resolve_deferred_releases)",
    )
    abort_in_waiting: Literal["release", "leak"] = setting(
        "release",
        "Abort of a request whose KV is here and which waits to be batched.",
        "leak: sglang 0.4.6.post4 managers/scheduler.py (abort_request pops it, frees nothing)",
    )
    abort_in_retracted: OnAbort = setting("release", "Abort of a retracted request.")
    abort_in_bootstrap: OnAbort = setting("release", "Abort in prefill's bootstrap queue.")
    abort_in_prefill_waiting: Literal["ignore", "release", "leak-slot"] = setting(
        "release",
        "Abort in prefill's waiting queue; its first-token buffer may be forgotten.",
        "leak-slot: sglang 0.4.6.post4 managers/scheduler.py (abort_request)",
    )
    abort_in_prefill_running: OnAbortOfWriter = setting(
        "defer", "Abort of a prompt of which some chunks are computed, and perhaps sent."
    )
    abort_in_flight: OnAbortOfWriter = setting("defer", "Abort while prefill sends.")
    client_abort_reaches: Literal["both", "decode"] = setting(
        "both", "Which side the router tells that the client went away."
    )
    decode_tells_prefill: bool = setting(
        True,
        "Whether decode tells prefill when it aborts, fails or times out, and is told when nobody "
        "writes its pages any more.",
        "sglang 0.5.23 disaggregation/mooncake/conn.py (ABORT and ABORT_ACK)",
    )
    prefill_tells_decode: bool = setting(
        True,
        "Whether prefill tells decode when it drops a request.",
        "no: sglang 0.5.23 disaggregation/common/conn.py (CommonKVSender.abort sends nothing)",
    )
    early_notice: Literal["kept", "lost"] = setting(
        "kept", "What becomes of an abort notice that comes before its prompt is being sent."
    )
    rejected_request: Literal["release", "leak"] = setting(
        "release",
        "A request too long for the pool is answered with an error. Whether the one placeholder "
        "token that stands for it is released again, or leaks.",
        "sglang 0.4.6.post4 managers/schedule_batch.py (set_finish_with_abort), dropped by "
        "disaggregation/decode.py (get_next_disagg_decode_batch_to_run: filter_batch)",
    )

    def __post_init__(self) -> None:
        """Check every rule a profile must keep.

        Raises:
            ProfileError: a value is out of range or does not fit another one.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and not isinstance(value, bool) and value < 0:
                raise ProfileError(
                    f"profile field {field.name} is {value}; it must not be negative"
                )
        for field_name in _AT_LEAST_ONE:
            if getattr(self, field_name) < 1:
                raise ProfileError(f"profile field {field_name} must be at least 1")
        for field_name, queues in _GATES.items():
            for queue in getattr(self, field_name):
                if queue not in queues:
                    raise ProfileError(
                        f"profile field {field_name} names {queue!r}; its queues are "
                        f"{', '.join(queues)}"
                    )
        for field_name in ("total_tokens", "prefill_total_tokens"):
            _require_whole_pages(field_name, getattr(self, field_name), self.page_size)
        parties = self.parties()
        if self.mixed_tp_needs_mla and not self.mla and parties.is_mixed:
            raise ProfileError(
                f"prefill has {self.prefill_tp // self.prefill_dp} TP ranks per DP rank, decode "
                f"{self.decode_tp // self.decode_dp}: this engine pairs different TP sizes with "
                "MLA only (mixed_tp_needs_mla)"
            )

    @property
    def kv_words_per_page(self) -> int:
        """Words of 8 bytes stored for each page."""
        words = max(1, -(-self.page_size * self.kv_bytes_per_token // 8))
        # Pairs that land at different times each bring at least a word of their own.
        return max(words, len(self.parties().completions)) if self.transfer_skew_us else words

    def parties(self) -> TransferParties:
        """Who takes part in one transfer under this topology.

        Raises:
            ProfileError: the parallel sizes do not fit together.
        """
        return transfer_parties(
            prefill_tp=self.prefill_tp,
            prefill_dp=self.prefill_dp,
            decode_tp=self.decode_tp,
            decode_dp=self.decode_dp,
            mla=self.mla,
        )

    def to_dict(self) -> dict[str, object]:
        """Every field by name, ready for JSON."""
        return dataclasses.asdict(self)


_AT_LEAST_ONE = (
    "prefill_instances",
    "prefill_tp",
    "prefill_dp",
    "decode_instances",
    "decode_tp",
    "decode_dp",
    "page_size",
    "total_tokens",
    "prefill_total_tokens",
    "request_slots",
    "max_running_requests",
    "metadata_slots",
    "prefill_metadata_slots",
    "chunked_prefill_tokens",
    "prefill_step_us",
    "decode_step_us",
    "poll_interval_us",
)


_GATES = {
    "decode_check_gate": ("prealloc", "transfer", "waiting", "retracted", "deferred"),
    "prefill_check_gate": ("bootstrap", "waiting", "inflight"),
}


def _require_whole_pages(field_name: str, tokens: int, page_size: int) -> None:
    if tokens % page_size:
        raise ProfileError(
            f"profile field {field_name} is {tokens}, which is not whole pages of {page_size} "
            f"tokens; engines round it down to {tokens // page_size * page_size}"
        )
