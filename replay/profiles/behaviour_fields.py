"""The second half of a profile: what an engine does when a transfer or a client does not do its part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from replay.profiles.deployment_fields import SetupFields, setting
from replay.recording.engine_messages import MessageStyle

Strictness = Literal["none", "warn", "error"]
OnAbort = Literal["ignore", "release"]
OnAbortOfWriter = Literal["ignore", "release", "defer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BehaviourFields(SetupFields):
    """The engine's own check, transfers, timeouts and aborts."""

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
    message_style: MessageStyle = setting(
        "sglang-0.5",
        "Whose words a mismatch is told in.",
        "sglang 0.4.6.post4 managers/scheduler.py (check_memory); 0.5.23 "
        "managers/scheduler_components/invariant_checker.py (_report_leak); vllm 0.33.0 "
        "v1/metrics/loggers.py (LoggingStatLogger.log)",
    )
    check_counts_protected: bool = setting(
        True,
        "Whether protected cache pages count as accounted for in the engine's formula.",
        "sglang 0.4.6.post4 managers/scheduler.py (check_memory) does not count them",
    )

    # Transfers.
    completion_sent: Literal["landed", "submitted"] = setting(
        "landed",
        "Whether a completion says that the bytes have landed, or only that they left.",
        "submitted: sglang pull 39229, see --defect completion-before-the-bytes",
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
        "attempt",
        "Whether a completion names the attempt it is of, or only its bootstrap room.",
        "room: sglang 0.4.6.post4 disaggregation/mooncake/conn.py (request_status by room)",
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
        "with-pages",
        "When an aborted request gives its first-token buffer back.",
        "at-once: sglang pull 27374, see --defect metadata-slot-reused",
    )
    failed_transfer: Literal["raise", "release", "leak"] = setting(
        "release",
        "What a transfer that is reported as failed does to the scheduler and its pages.",
        "sglang 0.4.6.post4 disaggregation/decode.py (pop_transferred raises 'Transfer failed')",
    )
    status_only_rises: bool = setting(
        False,
        "Whether a TP rank's transfer has one status that only goes up, so that a success hides a "
        "failure told before or after it. (A failure alone is what the poll sees here; in the real "
        "engine the status would hide even that.)",
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
        True,
        "Whether a waiting timeout starts again while the sender still has the request.",
        "no: sglang 0.5.23 disaggregation/common/conn.py (_check_waiting_timeout)",
    )
    completion_timeout_us: int | None = setting(
        30_000_000,
        "From bytes landed until the completion is consumed; None waits for ever.",
        "none: sglang 0.4.6.post4 and 0.5.23 disaggregation/mooncake/conn.py (poll), vllm "
        "0.33.0 v1/core/sched/scheduler.py",
    )
    acknowledgement_timeout_us: int | None = setting(
        30_000_000,
        "How long prefill waits for acknowledgements; None waits for ever.",
        "none: sglang 0.4.6.post4 disaggregation/prefill.py "
        "(process_disagg_prefill_inflight_queue); the NIXL connector of vllm 0.33.0 has a "
        "lease beside the scheduler",
    )
    acknowledgement_timeout_from: Literal["landed", "sent"] = setting(
        "landed",
        "Whether that counts from the last byte landed, or from the end of the prompt, whoever "
        "still reads.",
        "sent: vllm 0.33.0 envs.py (VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT)",
    )
    early_events: Literal["held", "believed"] = setting(
        "held",
        "A completion or an acknowledgement that comes before the bytes it is about have landed: "
        "kept until they have, or believed.",
        "believed: sglang 0.4.6.post4 and 0.5.23 disaggregation/mooncake/conn.py "
        "(update_status), vllm 0.33.0 v1/core/sched/scheduler.py (_update_from_kv_xfer_finished)",
    )
    unexpected_completion: Literal["ignore", "crash"] = setting(
        "ignore",
        "What a completion does that nobody waits for.",
        "crash: vllm 0.33.0 v1/core/sched/scheduler.py (_update_from_kv_xfer_finished asserts)",
    )
    duplicate_acknowledgement: Literal["ignore", "free-again", "crash"] = setting(
        "ignore",
        "What a second acknowledgement of one transfer does on the prefill side.",
        "crash: vllm 0.33.0 v1/core/sched/scheduler.py (_update_from_kv_xfer_finished); "
        "free-again: sglang pull 30937",
    )
    misrouted_acknowledgement: Literal["ignore", "release"] = setting(
        "ignore",
        "What an acknowledgement does that arrives as a receive completion.",
        "release: vllm 0.33.0 v1/core/sched/scheduler.py (_update_from_kv_xfer_finished)",
    )
    last_result_before_idle: Literal["kept", "lost"] = setting(
        "kept",
        "What becomes of the result of a batch after which the rank has nothing to run.",
        "lost: sglang pull 13144, see --defect result-dropped-in-the-loop",
    )
    cleanup_at_exhaustion: Literal["runs", "starved"] = setting(
        "runs",
        "Whether completions and deferred releases are looked at while nobody can be admitted.",
        "starved: vllm pull 57104, see --defect cleanup-starved-at-exhaustion",
    )
    release_subtracts_prefix_again: bool = setting(
        False,
        "Whether releasing a prompt takes its cached prefix off the protected counter a second "
        "time; no page is lost.",
        "sglang issue 27666, see --defect counter-drift-on-release",
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
    abort_in_retracted: OnAbort = setting(
        "release",
        "Abort of a retracted request.",
        "ignore: sglang 0.4.6.post4 managers/scheduler.py (abort_request)",
    )
    abort_in_bootstrap: OnAbort = setting(
        "release",
        "Abort in prefill's bootstrap queue.",
        "ignore: sglang 0.4.6.post4 managers/scheduler.py (abort_request)",
    )
    abort_in_prefill_waiting: Literal["ignore", "release", "leak-slot"] = setting(
        "release",
        "Abort in prefill's waiting queue; its first-token buffer may be forgotten.",
        "leak-slot: sglang 0.4.6.post4 managers/scheduler.py (abort_request)",
    )
    abort_in_prefill_running: OnAbortOfWriter = setting(
        "defer",
        "Abort of a prompt of which some chunks are computed, and perhaps sent.",
        "ignore: sglang 0.4.6.post4 disaggregation/prefill.py "
        "(process_batch_result_disagg_prefill never reads to_abort)",
    )
    abort_in_flight: OnAbortOfWriter = setting(
        "defer",
        "Abort while prefill sends.",
        "release: sglang 0.5.23 disaggregation/prefill.py "
        "(handle_inflight_transfer_failure); ignore: vllm 0.33.0 v1/core/sched/scheduler.py "
        "(finish_requests)",
    )
    client_abort_reaches: Literal["both", "decode"] = setting(
        "both",
        "Which side the router tells that the client went away.",
        "sglang 0.4.6.post4 disaggregation/mini_lb.py sends a request to both sides",
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
        "kept",
        "What becomes of an abort notice that comes before its prompt is being sent.",
        "lost: vllm pull 43509, see --defect early-notice-is-lost",
    )
    rejected_request: Literal["release", "leak"] = setting(
        "release",
        "A request too long for the pool is answered with an error. Whether the one placeholder "
        "token that stands for it is released again, or leaks.",
        "sglang 0.4.6.post4 managers/schedule_batch.py (set_finish_with_abort), dropped by "
        "disaggregation/decode.py (get_next_disagg_decode_batch_to_run: filter_batch)",
    )
