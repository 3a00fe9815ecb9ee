"""The second half of a profile: an engine's behaviour if a transfer or a client misbehaves."""

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
        "The idle check: raises and kills the scheduler, prints a warning, or does not exist.",
        "sglang 0.4.6.post3 and post4 managers/scheduler.py (check_memory)",
    )
    decode_check_gate: tuple[str, ...] = setting(
        ("transfer", "prealloc", "waiting", "retracted", "deferred"),
        "Queues that must be empty, in addition to the batch, before an idle decode rank checks itself.",
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
        "Wording of the message about a mismatch.",
        "sglang 0.4.6.post4 managers/scheduler.py (check_memory); 0.5.23 "
        "managers/scheduler_components/invariant_checker.py (_report_leak); vllm 0.33.0 "
        "v1/metrics/loggers.py (LoggingStatLogger.log)",
    )
    check_counts_protected: bool = setting(
        True,
        "Count protected cache pages as accounted for in the engine's formula.",
        "sglang 0.4.6.post4 managers/scheduler.py (check_memory) does not count them",
    )

    # Transfers.
    completion_sent: Literal["landed", "submitted"] = setting(
        "landed",
        "When a completion is sent: after the bytes have landed, or as soon as they are submitted.",
        "submitted: sglang pull 39229, see --defect completion-before-the-bytes",
    )
    source_freed: Literal["acknowledged", "submitted"] = setting(
        "acknowledged",
        "When prefill releases a prompt's pages.",
        "sglang 0.4.6.post4 disaggregation/prefill.py (process_disagg_prefill_inflight_queue)",
    )
    counts_completions: Literal["by-sender", "by-number"] = setting(
        "by-sender",
        "Distinguish completions by their sender, or only count them.",
        "by number: sglang 0.4.6.post4 disaggregation/mooncake/conn.py (one status a room); vllm "
        "0.33.0 distributed/kv_transfer/kv_connector/utils.py (KVOutputAggregator)",
    )
    done_when: Literal["every-rank", "any-rank"] = setting(
        "every-rank",
        "A transfer is done when every TP rank, or any TP rank, has its completions.",
        "sglang 0.4.6.post4 disaggregation/utils.py (poll_and_all_reduce takes the minimum)",
    )
    ranks_agree: bool = setting(
        True,
        "TP ranks agree on the finished transfers before they act; otherwise they hang in the next "
        "collective as soon as they differ.",
        "sglang 0.4.6.post4 disaggregation/utils.py (poll_and_all_reduce)",
    )
    expected_senders: Literal["real", "all"] = setting(
        "real",
        "A receiver waits only for the senders that send, or also for the dummies.",
        "sglang 0.5.23 disaggregation/common/conn.py (required_prefill_response_num)",
    )
    matches_completions_by: Literal["attempt", "room"] = setting(
        "attempt",
        "A completion identifies the attempt of its request, or only the bootstrap room.",
        "room: sglang 0.4.6.post4 disaggregation/mooncake/conn.py (request_status by room)",
    )
    used_rooms: Literal["forgotten", "wedge"] = setting(
        "forgotten",
        "The status of a finished transfer is forgotten, or stays on its room, so that the next "
        "request of that room never gets past prealloc.",
        "sglang 0.4.6.post4 disaggregation/mooncake/conn.py (request_status is never cleaned)",
    )
    metadata_gate: bool = setting(
        True,
        "A completed transfer waits until its first-token buffer contains its own room, and is given "
        "up if the buffer contains another room.",
        "sglang 0.5.23 disaggregation/decode.py (_poll_with_metadata_gate)",
    )
    metadata_slot_freed: Literal["with-pages", "at-once"] = setting(
        "with-pages",
        "When an aborted request releases its first-token buffer.",
        "at-once: sglang pull 27374, see --defect metadata-slot-reused",
    )
    failed_transfer: Literal["raise", "release", "leak"] = setting(
        "release",
        "Effect of a failed transfer: raise in the scheduler, release the pages, or leak them.",
        "sglang 0.4.6.post4 disaggregation/decode.py (pop_transferred raises 'Transfer failed')",
    )
    status_only_rises: bool = setting(
        False,
        "A TP rank's transfer has one status that can only increase, so that a success hides a "
        "failure reported before or after it. (Here the poll still sees a failure on its own; in the "
        "real engine the status would hide even that.)",
        "sglang 0.4.6.post4 disaggregation/mooncake/conn.py (update_status takes the max)",
    )
    bootstrap_timeout_us: int | None = setting(
        300_000_000,
        "How long prefill waits for decode's pages; None: forever.",
        "sglang 0.5.23 environ.py (SGLANG_DISAGGREGATION_BOOTSTRAP_TIMEOUT)",
    )
    waiting_timeout_us: int | None = setting(
        60_000_000,
        "Timeout from preallocation until bytes move; None: no timeout.",
        "sglang 0.5.23 environ.py (SGLANG_DISAGGREGATION_WAITING_TIMEOUT)",
    )
    timeout_asks_sender: bool = setting(
        True,
        "The waiting timeout restarts while the sender still has the request.",
        "no: sglang 0.5.23 disaggregation/common/conn.py (_check_waiting_timeout)",
    )
    completion_timeout_us: int | None = setting(
        30_000_000,
        "Timeout from the landing of the bytes until the completion is consumed; None: no timeout.",
        "none: sglang 0.4.6.post4 and 0.5.23 disaggregation/mooncake/conn.py (poll), vllm "
        "0.33.0 v1/core/sched/scheduler.py",
    )
    acknowledgement_timeout_us: int | None = setting(
        30_000_000,
        "How long prefill waits for acknowledgements; None: forever.",
        "none: sglang 0.4.6.post4 disaggregation/prefill.py "
        "(process_disagg_prefill_inflight_queue); the NIXL connector of vllm 0.33.0 has a "
        "lease beside the scheduler",
    )
    acknowledgement_timeout_from: Literal["landed", "sent"] = setting(
        "landed",
        "Start of that timeout: the landing of the last byte, or the end of the prompt, even if the "
        "pages are still being read.",
        "sent: vllm 0.33.0 envs.py (VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT)",
    )
    early_events: Literal["held", "believed"] = setting(
        "held",
        "A completion or an acknowledgement that arrives before its bytes have landed is held until "
        "they have, or believed.",
        "believed: sglang 0.4.6.post4 and 0.5.23 disaggregation/mooncake/conn.py "
        "(update_status), vllm 0.33.0 v1/core/sched/scheduler.py (_update_from_kv_xfer_finished)",
    )
    unexpected_completion: Literal["ignore", "crash"] = setting(
        "ignore",
        "Effect of a completion that no request waits for.",
        "crash: vllm 0.33.0 v1/core/sched/scheduler.py (_update_from_kv_xfer_finished asserts)",
    )
    duplicate_acknowledgement: Literal["ignore", "free-again", "crash"] = setting(
        "ignore",
        "Effect of a second acknowledgement of a transfer on the prefill side.",
        "crash: vllm 0.33.0 v1/core/sched/scheduler.py (_update_from_kv_xfer_finished); "
        "free-again: sglang pull 30937",
    )
    misrouted_acknowledgement: Literal["ignore", "release"] = setting(
        "ignore",
        "Effect of an acknowledgement that arrives as a receive completion.",
        "release: vllm 0.33.0 v1/core/sched/scheduler.py (_update_from_kv_xfer_finished)",
    )
    last_result_before_idle: Literal["kept", "lost"] = setting(
        "kept",
        "The result of a batch after which the rank has nothing to run is kept or lost.",
        "lost: sglang pull 13144, see --defect result-dropped-in-the-loop",
    )
    cleanup_at_exhaustion: Literal["runs", "starved"] = setting(
        "runs",
        "Completions and deferred releases are processed, or not, while no request can be admitted.",
        "starved: vllm pull 57104, see --defect cleanup-starved-at-exhaustion",
    )
    release_subtracts_prefix_again: bool = setting(
        False,
        "Releasing a prompt subtracts its cached prefix from the protected counter a second time; no "
        "page is lost.",
        "sglang issue 27666, see --defect counter-drift-on-release",
    )

    # Client aborts, by the queue of the request. A deferred release waits for the writer.
    abort_in_prealloc: OnAbort = setting(
        "release",
        "Effect of an abort on a request that waits for decode pages.",
        "sglang 0.4.6.post4 managers/scheduler.py (abort_request looks in the waiting queue only)",
    )
    abort_in_transfer: OnAbortOfWriter = setting(
        "defer",
        "Effect of an abort on a request whose KV is being transferred.",
        "sglang 0.5.23 disaggregation/decode.py (_defer_release, resolve_deferred_releases)",
    )
    deferred_until: Literal["acknowledged", "completed"] = setting(
        "acknowledged",
        "A deferred release waits until the sender acknowledges that it has stopped, or for the "
        "completion, which may be lost.",
        "completed: vllm 0.33.0 v1/core/sched/scheduler.py (finished_recving)",
    )
    deferred_timeout_us: int | None = setting(
        None,
        "Maximum wait of a deferred release, even if the writer still writes; None: no limit.",
        "30 s: sglang 0.5.23 environ.py, disaggregation/decode.py (resolve_deferred_releases)",
    )
    abort_in_waiting: Literal["release", "leak"] = setting(
        "release",
        "Effect of an abort on a request whose KV has arrived and that waits for the batch.",
        "leak: sglang 0.4.6.post4 managers/scheduler.py (abort_request pops it, frees nothing)",
    )
    abort_in_retracted: OnAbort = setting(
        "release",
        "Effect of an abort on a retracted request.",
        "ignore: sglang 0.4.6.post4 managers/scheduler.py (abort_request)",
    )
    abort_in_bootstrap: OnAbort = setting(
        "release",
        "Effect of an abort on a request in prefill's bootstrap queue.",
        "ignore: sglang 0.4.6.post4 managers/scheduler.py (abort_request)",
    )
    abort_in_prefill_waiting: Literal["ignore", "release", "leak-slot"] = setting(
        "release",
        "Effect of an abort on a request in prefill's waiting queue; its first-token buffer may leak.",
        "leak-slot: sglang 0.4.6.post4 managers/scheduler.py (abort_request)",
    )
    abort_in_prefill_running: OnAbortOfWriter = setting(
        "defer",
        "Effect of an abort on a prompt with some chunks computed, and perhaps sent.",
        "ignore: sglang 0.4.6.post4 disaggregation/prefill.py "
        "(process_batch_result_disagg_prefill never reads to_abort)",
    )
    abort_in_flight: OnAbortOfWriter = setting(
        "defer",
        "Effect of an abort while prefill sends.",
        "release: sglang 0.5.23 disaggregation/prefill.py "
        "(handle_inflight_transfer_failure); ignore: vllm 0.33.0 v1/core/sched/scheduler.py "
        "(finish_requests)",
    )
    client_abort_reaches: Literal["both", "decode"] = setting(
        "both",
        "The sides that the router notifies of a client abort.",
        "sglang 0.4.6.post4 disaggregation/mini_lb.py sends a request to both sides",
    )
    decode_tells_prefill: bool = setting(
        True,
        "Decode notifies prefill when it aborts, fails or times out, and prefill confirms when nothing "
        "writes to decode's pages any more.",
        "sglang 0.5.23 disaggregation/mooncake/conn.py (ABORT and ABORT_ACK)",
    )
    prefill_tells_decode: bool = setting(
        True,
        "Prefill notifies decode when it drops a request.",
        "no: sglang 0.5.23 disaggregation/common/conn.py (CommonKVSender.abort sends nothing)",
    )
    early_notice: Literal["kept", "lost"] = setting(
        "kept",
        "An abort notice that arrives before its prompt is being sent is kept or lost.",
        "lost: vllm pull 43509, see --defect early-notice-is-lost",
    )
    rejected_request: Literal["release", "leak"] = setting(
        "release",
        "A request too long for the pool is answered with an error; the placeholder token allocated "
        "for it is released or leaks.",
        "sglang 0.4.6.post4 managers/schedule_batch.py (set_finish_with_abort), dropped by "
        "disaggregation/decode.py (get_next_disagg_decode_batch_to_run: filter_batch)",
    )
