"""The built-in engine profiles, as differences from the defaults of `EngineProfile`.

The known bugs of a version are applied with the same switches as `--defect`. All values were
measured on the real packages or read in their source; see the fields of
`replay.profiles.profile.EngineProfile` and the defects in `replay.profiles.defects`.
"""

from __future__ import annotations

import dataclasses
import difflib

from replay.errors import ProfileError
from replay.profiles.defects import with_defects
from replay.profiles.profile import EngineProfile


def builtin_profiles() -> dict[str, EngineProfile]:
    """Return every built-in profile by name."""
    post4 = _sglang_0_4_6_post4()
    profiles = (
        _sglang_0_4_6_post3(post4),
        post4,
        _sglang_0_4_6_post5(post4),
        _sglang_0_5_23(),
        _vllm_0_33(),
        _hardened(),
    )
    return {profile.name: profile for profile in profiles}


def find_profile(name: str) -> EngineProfile:
    """Return the built-in profile with that name.

    Raises:
        ProfileError: there is no such profile.
    """
    profiles = builtin_profiles()
    if name in profiles:
        return profiles[name]
    near = difflib.get_close_matches(name, profiles, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(profiles)}"
    raise ProfileError(f"--profile {name}: no profile of that name; {hint}")


#: Bugs of all 0.4.6 versions.
_BUGS_OF_0_4_6 = (
    "completion-never-times-out",
    "abort-in-waiting-leaks",
    "peer-is-never-told",
    "room-reused-while-open",
    "room-status-stays",
)


def _sglang_0_4_6_post4() -> EngineProfile:
    """Sources: sglang 0.4.6.post4 disaggregation/{decode,prefill,utils}.py, mooncake/conn.py."""
    base = EngineProfile(
        name="sglang-0.4.6.post4",
        description="SGLang 0.4.6.post4: the idle check has become an error; nothing times out.",
        mixed_tp_needs_mla=True,
        prebuilt_takes_iteration=True,
        check_strictness="error",
        # The waiting queue gates the check only from 0.4.8 on.
        decode_check_gate=("transfer", "prealloc"),
        prefill_check_gate=("inflight",),
        message_style="sglang-0.4",
        check_counts_protected=False,
        failed_transfer="raise",
        early_events="believed",
        bootstrap_timeout_us=None,
        waiting_timeout_us=None,
        timeout_asks_sender=False,
        abort_in_prealloc="ignore",
        abort_in_transfer="ignore",
        abort_in_retracted="ignore",
        abort_in_bootstrap="ignore",
        abort_in_prefill_waiting="leak-slot",
        abort_in_prefill_running="ignore",
        abort_in_flight="ignore",
        prefill_tells_decode=False,
    )
    bugs = (*_BUGS_OF_0_4_6, "rejected-request-leaks", "failure-masked-by-success")
    return with_defects(base, bugs)


def _sglang_0_4_6_post3(post4: EngineProfile) -> EngineProfile:
    """Undo the changes of post4: the check raises, and a transfer's status can only increase."""
    return dataclasses.replace(
        post4,
        name="sglang-0.4.6.post3",
        description="SGLang 0.4.6.post3: the idle check still warns; nothing times out.",
        check_strictness="warn",
        status_only_rises=False,
        defects=tuple(name for name in post4.defects if name != "failure-masked-by-success"),
    )


def _sglang_0_4_6_post5(post4: EngineProfile) -> EngineProfile:
    """Apply the changes of post5: failed transfers and rejected requests are released."""
    return dataclasses.replace(
        post4,
        name="sglang-0.4.6.post5",
        description="SGLang 0.4.6.post5: failed transfers are freed; an abort in waiting leaks.",
        failed_transfer="release",
        rejected_request="release",
        defects=tuple(name for name in post4.defects if name != "rejected-request-leaks"),
    )


def _sglang_0_5_23() -> EngineProfile:
    """Sources: sglang 0.5.23 disaggregation/{decode,prefill,utils}.py, common/conn.py."""
    base = EngineProfile(
        name="sglang-0.5.23",
        description="SGLang 0.5.23: failures and aborts release; waiting for bytes times out.",
        allocator_sorts_pages=True,
        chunked_prefill_tokens=8_192,
        early_events="believed",
        waiting_timeout_us=300_000_000,
        timeout_asks_sender=False,
        deferred_timeout_us=30_000_000,
        abort_in_prefill_running="release",
        abort_in_flight="release",
        prefill_tells_decode=False,
    )
    # The 300 s bound a transfer only while no data has moved: a completion lost afterwards hangs.
    return with_defects(base, ("completion-never-times-out",))


def _vllm_0_33() -> EngineProfile:
    """Sources: vllm 0.33.0 v1/core/sched/scheduler.py, the NIXL connector, KVOutputAggregator."""
    base = EngineProfile(
        name="vllm-0.33",
        description="vLLM 0.33.0: decode pulls after prefill; unexpected completions crash it.",
        decode_allocates="after-prefill",
        page_size=16,
        reserved_decode_tokens=0,
        max_running_requests=1024,
        chunked_prefill_tokens=8_192,
        sends_chunks=False,
        retracts_first="last",
        check_strictness="none",
        message_style="vllm",
        metadata_gate=False,
        early_events="believed",
        duplicate_acknowledgement="crash",
        misrouted_acknowledgement="release",
        bootstrap_timeout_us=None,
        waiting_timeout_us=None,
        timeout_asks_sender=False,
        abort_in_prefill_running="release",
        abort_in_flight="ignore",
        prefill_tells_decode=False,
    )
    bugs = (
        "completion-never-times-out",
        "peer-is-never-told",
        "abort-waits-for-completion",
        "completions-counted-by-number",
        "late-completion-crashes",
    )
    return with_defects(base, bugs)


def _hardened() -> EngineProfile:
    return EngineProfile(
        name="hardened",
        description="The design that survives every fault: every wait is bounded, every completion "
        "is idempotent, and no page is released while somebody may still write it.",
    )
