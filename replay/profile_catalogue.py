"""The built-in engine profiles, each a set of field values that its docstring line justifies.

Facts behind the values: the table "SGLang on a CPU" of the project's field notes, measured on the
real packages, and the sources named at each field of `replay.profile.EngineProfile`.
"""

from __future__ import annotations

import difflib

from replay.errors import ProfileError
from replay.profile import EngineProfile


def builtin_profiles() -> dict[str, EngineProfile]:
    """Every built-in profile by name."""
    profiles = (_sglang_0_4_6_post4(), _sglang_0_5_23(), _hardened())
    return {profile.name: profile for profile in profiles}


def find_profile(name: str) -> EngineProfile:
    """The built-in profile of that name.

    Raises:
        ProfileError: there is none.
    """
    profiles = builtin_profiles()
    if name in profiles:
        return profiles[name]
    near = difflib.get_close_matches(name, profiles, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(profiles)}"
    raise ProfileError(f"--profile {name}: no profile of that name; {hint}")


def _sglang_0_4_6_post4() -> EngineProfile:
    return EngineProfile(
        name="sglang-0.4.6.post4",
        description="SGLang 0.4.6.post4: the idle check has become an error; nothing times out.",
        check_strictness="error",
        # The waiting queue gates the check only from 0.4.8 on.
        decode_check_gate=("transfer", "prealloc"),
        prefill_check_gate=("inflight",),
        message_style="sglang-0.4",
        check_counts_protected=False,
        failed_transfer="raise",
        abort_in_prealloc="ignore",
        abort_in_transfer="ignore",
        abort_in_waiting="leak",
        abort_in_bootstrap="ignore",
        abort_in_prefill_waiting="release",
        abort_in_flight="ignore",
        peer_is_notified=False,
        rejected_request="leak",
    )


def _sglang_0_5_23() -> EngineProfile:
    return EngineProfile(
        name="sglang-0.5.23",
        description="SGLang 0.5.23: failures and aborts release; waiting for bytes times out.",
        allocator_sorts_pages=True,
        check_strictness="error",
        decode_check_gate=("transfer", "prealloc", "waiting", "retracted", "deferred"),
        prefill_check_gate=("inflight", "bootstrap", "waiting"),
        message_style="sglang-0.5",
        check_counts_protected=True,
        failed_transfer="release",
        # Bounds a transfer only while no data has moved: a completion lost afterwards hangs.
        waiting_timeout_us=300_000_000,
        completion_timeout_us=None,
        abort_in_prealloc="release",
        abort_in_transfer="release",
        abort_in_waiting="release",
        abort_in_bootstrap="release",
        abort_in_prefill_waiting="release",
        abort_in_flight="release",
        peer_is_notified=True,
        rejected_request="release",
    )


def _hardened() -> EngineProfile:
    return EngineProfile(
        name="hardened",
        description="The design that survives every fault: every wait is bounded, every completion "
        "is idempotent, and no page is released while somebody may still write it.",
        check_strictness="error",
        decode_check_gate=("transfer", "prealloc", "waiting", "retracted", "deferred"),
        prefill_check_gate=("inflight", "bootstrap", "waiting"),
        message_style="sglang-0.5",
        check_counts_protected=True,
        failed_transfer="release",
        waiting_timeout_us=60_000_000,
        timeout_asks_sender=True,
        completion_timeout_us=30_000_000,
        acknowledgement_timeout_us=30_000_000,
        duplicate_acknowledgement="ignore",
        abort_in_prealloc="release",
        abort_in_transfer="defer",
        abort_in_waiting="release",
        abort_in_bootstrap="release",
        abort_in_prefill_waiting="release",
        abort_in_flight="defer",
        peer_is_notified=True,
        rejected_request="release",
    )
