"""Known bugs of real engines as switches: named bundles of profile fields.

Each bug is in the same place as the real one (the release path, the gate, the counter, the poll
loop): it is a field value that the schedulers read there; nothing is injected from outside. Every
defect can be added to every profile (`--defect NAME`). The profiles of real versions use the same
switches for the bugs of those versions, and `hardened` has none.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from replay.errors import ProfileError
from replay.profiles.profile import EngineProfile

_SGLANG = "https://github.com/sgl-project/sglang"
_VLLM = "https://github.com/vllm-project/vllm"
_ASCEND = "https://github.com/vllm-project/vllm-ascend"


@dataclass(frozen=True, slots=True)
class Defect:
    """One bug: its effect, the field failure mode, public reports, and the profile fields it sets."""

    name: str
    mode: str
    meaning: str
    reports: tuple[str, ...]
    changes: dict[str, object]
    #: What a deployment needs for the bug to show, in addition to faults; may be empty.
    needs: str = ""


def all_defects() -> dict[str, Defect]:
    """Return every defect by name."""
    defects = (
        *_of_waiting(),
        *_of_aborts(),
        *_of_counting(),
        *_of_ownership(),
        *_of_the_scheduler(),
    )
    return {defect.name: defect for defect in defects}


def with_defects(profile: EngineProfile, names: Sequence[str]) -> EngineProfile:
    """Return a copy of a profile with these bugs added.

    Raises:
        ProfileError: there is no defect with that name.
    """
    known = all_defects()
    changes: dict[str, object] = {}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ProfileError(f"--defect {name}: no defect of that name; {hint}")
        if name not in profile.defects:
            changes |= known[name].changes
    defects = tuple(dict.fromkeys((*profile.defects, *names)))
    return dataclasses.replace(profile, defects=defects, **changes)  # type: ignore[arg-type]


def require_new(profile: EngineProfile, names: Sequence[str]) -> None:
    """Check that these bugs exist and that a profile does not have them yet.

    Raises:
        ProfileError: a bug is unknown, or the profile already has it.
    """
    with_defects(profile, names)
    if has := [name for name in names if name in profile.defects]:
        raise ProfileError(
            f"--defect {has[0]}: {profile.name} already has it; hunt it on another profile, such as "
            "--profile hardened"
        )


def _of_waiting() -> tuple[Defect, ...]:
    return (
        Defect(
            "completion-never-times-out",
            "completion lost and no timeout",
            "No timeout runs once the bytes have moved: a lost completion holds its pages forever.",
            (f"{_SGLANG}/pull/31800", f"{_VLLM}/issues/35943"),
            {"completion_timeout_us": None, "acknowledgement_timeout_us": None},
        ),
        Defect(
            "peer-is-never-told",
            "peer never pulls, held until a timeout",
            "Decode gives up a request without notifying prefill, which holds the prompt until a timeout.",
            (f"{_VLLM}/pull/41269", "https://github.com/ai-dynamo/dynamo/pull/14507"),
            {"decode_tells_prefill": False},
            needs="requests that only decode gives up: client_abort_reaches=decode, or failures",
        ),
        Defect(
            "hold-timeout-ignores-readers",
            "timeout frees, then a late pull or completion",
            "The hold timeout only considers age and frees pages that a transfer still reads.",
            (f"{_ASCEND}/issues/15420", f"{_SGLANG}/pull/38961"),
            {"acknowledgement_timeout_from": "sent", "acknowledgement_timeout_us": 1_000_000},
            needs="transfers or pulls that take longer than the timeout",
        ),
        Defect(
            "abort-waits-for-completion",
            "hold after abort, completion lost",
            "An aborted transfer is released only by its completion; if that is lost, never.",
            (f"{_VLLM}/issues/46283", f"{_ASCEND}/issues/16662"),
            {
                "abort_in_transfer": "defer",
                "deferred_until": "completed",
                "deferred_timeout_us": None,
            },
        ),
        Defect(
            "early-notice-is-lost",
            "lost control message",
            "An abort notice that arrives before its prompt is being sent is discarded.",
            (f"{_VLLM}/pull/43509", f"{_SGLANG}/pull/29978"),
            {"early_notice": "lost"},
            needs="notices from decode (decode_tells_prefill=true), and aborts or failures",
        ),
        Defect(
            "cleanup-starved-at-exhaustion",
            "cleanup starved at exhaustion",
            "While the head of the queue does not fit, completions that would free pages are not processed.",
            (f"{_VLLM}/pull/57104", f"{_SGLANG}/pull/32579"),
            {"cleanup_at_exhaustion": "starved"},
        ),
    )


def _of_aborts() -> tuple[Defect, ...]:
    return (
        Defect(
            "abort-in-waiting-leaks",
            "abort during or after transfer leaks",
            "An abort removes a request from the waiting queue and frees none of its pages.",
            (f"{_SGLANG}/pull/9817", f"{_SGLANG}/pull/21652"),
            {"abort_in_waiting": "leak"},
        ),
        Defect(
            "rejected-request-leaks",
            "abort during or after transfer leaks",
            "A request aborted before it is batched is filtered out, and its token leaks.",
            (f"{_SGLANG}/pull/9817",),
            {"rejected_request": "leak"},
        ),
        Defect(
            "abort-frees-under-the-writer",
            "abort frees pages, a late write lands",
            "An abort immediately frees pages that a transfer is still writing.",
            (f"{_SGLANG}/issues/24527", f"{_SGLANG}/pull/35049"),
            {"abort_in_transfer": "release"},
            needs="aborts while bytes move",
        ),
        Defect(
            "failed-transfer-not-released",
            "failed transfer not cleaned up or masked",
            "The error path removes a failed transfer from its queue and frees nothing.",
            (f"{_VLLM}/issues/35943", f"{_ASCEND}/issues/8810"),
            {"failed_transfer": "leak"},
        ),
        Defect(
            "failure-masked-by-success",
            "failed transfer not cleaned up or masked",
            "A status that can only increase: one sender's success hides another's failure.",
            (f"{_SGLANG}/pull/19205", f"{_SGLANG}/pull/30352"),
            {"status_only_rises": True},
            needs="several senders for one decode TP rank (prefill wider, mla=false)",
        ),
    )


def _of_counting() -> tuple[Defect, ...]:
    return (
        Defect(
            "completions-counted-by-number",
            "duplicate, or two completions on one hold",
            "Completions are counted but not distinguished: a duplicate counts as another rank's.",
            (f"{_VLLM}/issues/46240", "https://github.com/local-inference-lab/vllm/pull/192"),
            {"counts_completions": "by-number"},
            needs="several completions per transfer (more TP ranks than DP ranks)",
        ),
        Defect(
            "one-rank-counts-as-all",
            "partial rank or component counted as done",
            "The transfer counts as done as soon as the first TP rank is done.",
            ("https://github.com/ROCm/ATOM/pull/2252", f"{_ASCEND}/issues/8810"),
            {"done_when": "any-rank"},
            needs="several decode TP ranks per DP rank",
        ),
        Defect(
            "dummies-are-expected",
            "expected count too high",
            "The expected count includes senders that never send, so no transfer is ever done.",
            (f"{_VLLM}/pull/23917",),
            {"expected_senders": "all"},
            needs="prefill with more TP ranks per DP rank than decode, and mla=true",
        ),
        Defect(
            "ranks-poll-alone",
            "ranks out of step in a collective",
            "Each TP rank acts on its own view; if the views differ, the ranks hang in a collective.",
            (f"{_SGLANG}/pull/36928", "https://github.com/NVIDIA/TensorRT-LLM/pull/14020"),
            {"ranks_agree": False},
            needs="several decode TP ranks per DP rank",
        ),
        Defect(
            "completion-before-the-bytes",
            "wrong id or early notification",
            "Bytes and notification are two writes, and the notification counts as proof of both.",
            (f"{_SGLANG}/pull/39229", f"{_SGLANG}/pull/26394"),
            {
                "completion_sent": "submitted",
                "metadata_gate": False,
                "early_events": "believed",
            },
        ),
        Defect(
            "late-completion-crashes",
            "late completion for a freed request crashes",
            "A completion that no request waits for fails an assertion and kills the scheduler.",
            (f"{_VLLM}/issues/43226", f"{_ASCEND}/pull/5726"),
            {"unexpected_completion": "crash"},
        ),
    )


def _of_ownership() -> tuple[Defect, ...]:
    return (
        Defect(
            "second-acknowledgement-frees-again",
            "double free",
            "The release path has no guard: a second acknowledgement frees the pages again.",
            (f"{_SGLANG}/pull/30937", f"{_SGLANG}/issues/7256"),
            {"duplicate_acknowledgement": "free-again"},
        ),
        Defect(
            "source-freed-before-it-is-read",
            "free before an asynchronous read is done",
            "Prefill frees a prompt's pages when the transfer is submitted, not when it is done.",
            (f"{_VLLM}/issues/52360", f"{_SGLANG}/pull/24226"),
            {"source_freed": "submitted"},
        ),
        Defect(
            "metadata-slot-reused",
            "metadata slot or room reuse",
            "An abort releases the first-token buffer although a transfer will still write it.",
            (f"{_SGLANG}/pull/27374", f"{_SGLANG}/issues/17259"),
            {"metadata_slot_freed": "at-once", "metadata_gate": False},
            needs="aborts that are deferred (abort_in_transfer=defer)",
        ),
        Defect(
            "room-reused-while-open",
            "metadata slot or room reuse",
            "Completions identify only a room: one for the room's previous user counts for the next.",
            ("https://github.com/volcano-sh/kthena/issues/1423",),
            {
                "matches_completions_by": "room",
                "metadata_gate": False,
                "early_events": "believed",
            },
            needs="rooms that are reused (bootstrap_rooms)",
        ),
        Defect(
            "room-status-stays",
            "metadata slot or room reuse",
            "The status of a finished transfer stays on its room and blocks the room's next user.",
            (f"{_SGLANG}/issues/6857",),
            {"used_rooms": "wedge"},
            needs="rooms that are reused (bootstrap_rooms), or retraction",
        ),
    )


def _of_the_scheduler() -> tuple[Defect, ...]:
    return (
        Defect(
            "result-dropped-in-the-loop",
            "result dropped in the event loop",
            "The empty batch after the last one overwrites it before its result is processed.",
            (f"{_SGLANG}/pull/13144", f"{_SGLANG}/pull/36926"),
            {"last_result_before_idle": "lost"},
        ),
        Defect(
            "idle-check-ungated",
            "false idle or checker false alarm",
            "The idle check ignores the queues: pages of live requests look like a leak.",
            (f"{_SGLANG}/pull/16067", f"{_SGLANG}/pull/19024"),
            {"decode_check_gate": ()},
        ),
        Defect(
            "counter-drift-on-release",
            "counter drift",
            "Releasing a prompt subtracts its cached prefix from the protected counter twice.",
            (f"{_SGLANG}/issues/27666", f"{_SGLANG}/pull/12774"),
            {"release_subtracts_prefix_again": True},
            needs="prompts with a cached prefix",
        ),
    )
