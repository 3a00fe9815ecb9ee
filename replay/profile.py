"""What differs between engines and their versions, as plain data.

`EngineProfile` names every difference as one field; the schedulers read fields and never ask for a
name. The built-in profiles are in `replay.profile_catalogue`; `--set FIELD=VALUE` overrides any.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from dataclasses import dataclass
from typing import Literal

from replay.errors import ProfileError
from replay.parallel import TransferParties, transfer_parties

Strictness = Literal["warn", "error"]
MessageStyle = Literal["sglang-0.4", "sglang-0.5"]
OnFailure = Literal["raise", "release"]
#: A deferred abort waits until nobody can write the pages any more.
OnAbort = Literal["ignore", "release"]
OnAbortOfWriter = Literal["ignore", "release", "defer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile:
    """One engine version and the deployment it runs in. Times are virtual microseconds."""

    name: str
    description: str

    # Topology. A DP rank has its own scheduler and its own pool; TP ranks of one DP rank share one.
    prefill_instances: int = 1
    prefill_tp: int = 8
    prefill_dp: int = 1
    decode_instances: int = 1
    decode_tp: int = 8
    decode_dp: int = 8
    #: Multi-head latent attention: KV is the same on all TP ranks, so one sender is enough.
    mla: bool = True

    # Memory, for each DP rank.
    page_size: int = 64
    total_tokens: int = 13_858_304
    prefill_total_tokens: int = 13_858_304
    #: Whether freed pages are staged, and merged in sorted when the free list runs short (sglang
    #: `need_sort`, which 0.4.6 lacks; `mem_cache/kv_cache_configurator.py` of 0.5.23 sets it on
    #: both sides of a pair). Decides which pages a request gets, not how many.
    allocator_sorts_pages: bool = False
    #: Tokens kept free for each admitted request (sglang `SGLANG_NUM_RESERVED_DECODE_TOKENS`).
    reserved_decode_tokens: int = 512
    #: Requests that may hold pages on one rank (the size of sglang's `req_to_token_pool`).
    request_slots: int = 2048
    #: Requests that may decode together on one rank; others wait with their KV in place.
    max_running_requests: int = 2048
    #: First-token buffers on one rank; sglang makes twice as many as request slots.
    metadata_slots: int = 4096
    #: Bytes of KV really stored, copied and compared for each token, in whole words of 8 bytes a
    #: page; 0 keeps one word a page, which is enough to tell every page's contents apart.
    kv_bytes_per_token: int = 0
    prefill_cache: Literal["radix", "chunk"] = "radix"
    chunked_prefill_tokens: int = 16_384

    # Time. A prefill batch takes a base and so much per thousand tokens; a decode iteration a base
    # and so much per request of the fullest rank; a transfer a base and so much per page.
    prefill_step_us: int = 5_000
    prefill_us_per_1k_tokens: int = 15_000
    decode_step_us: int = 18_000
    decode_step_us_per_request: int = 120
    #: An engine with nothing to run looks at its queues this often.
    poll_interval_us: int = 1_000
    transfer_us: int = 1_500
    transfer_us_per_page: int = 20
    #: From the last byte landed until the receiver is told so.
    completion_latency_us: int = 300
    #: A control message from one side to the other (metadata, abort notice).
    control_latency_us: int = 500

    # The engine's own check.
    #: "error" raises and kills the scheduler (0.4.6.post4 on); "warn" prints.
    check_strictness: Strictness = "error"
    #: Queues that must be empty, beside the batch, before an idle decode rank checks itself.
    decode_check_gate: tuple[str, ...] = ("transfer", "prealloc")
    prefill_check_gate: tuple[str, ...] = ("inflight",)
    message_style: MessageStyle = "sglang-0.4"
    #: Whether protected cache pages count as accounted for in the engine's formula.
    check_counts_protected: bool = False

    # Transfers.
    #: What a transfer that is reported as failed does to the scheduler.
    failed_transfer: OnFailure = "raise"
    #: From preallocation until bytes move; None waits for ever.
    waiting_timeout_us: int | None = None
    #: From bytes landed until the completion is consumed; None waits for ever.
    completion_timeout_us: int | None = None
    #: From bytes landed until prefill is acknowledged; None waits for ever.
    acknowledgement_timeout_us: int | None = None
    #: A waiting timeout asks the sender first and starts again while it still has the request.
    timeout_asks_sender: bool = False
    #: What a second acknowledgement of one transfer does on the prefill side.
    duplicate_acknowledgement: Literal["ignore", "free-again"] = "ignore"

    # Client aborts, by the queue they find the request in.
    abort_in_prealloc: OnAbort = "ignore"
    abort_in_transfer: OnAbortOfWriter = "ignore"
    abort_in_waiting: Literal["release", "leak"] = "leak"
    abort_in_bootstrap: OnAbort = "ignore"
    abort_in_prefill_waiting: OnAbort = "release"
    abort_in_flight: OnAbortOfWriter = "ignore"
    #: Whether the side that aborts or times out tells its peer.
    peer_is_notified: bool = False
    #: A request too long for the pool is answered with an error. Whether the one placeholder token
    #: that stands for it is released again, or leaks.
    rejected_request: Literal["release", "leak"] = "leak"

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
        self.parties()

    @property
    def kv_words_per_page(self) -> int:
        """Words of 8 bytes stored for each page."""
        return max(1, -(-self.page_size * self.kv_bytes_per_token // 8))

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

    def override(self, changes: dict[str, str]) -> EngineProfile:
        """A copy with some fields set from text, as `--set FIELD=VALUE` gives them.

        Raises:
            ProfileError: no such field, a value of the wrong type, or an inconsistent result.
        """
        hints = typing.get_type_hints(EngineProfile)
        del hints["name"], hints["description"]
        values: dict[str, object] = {}
        for name, text in changes.items():
            if name not in hints:
                near = difflib.get_close_matches(name, hints, n=1)
                hint = f"; did you mean {near[0]}?" if near else "; see `kvreplay profiles`"
                raise ProfileError(f"--set {name}: no profile field of that name{hint}")
            values[name] = _parse(name, text, hints[name])
        return dataclasses.replace(self, **values)  # type: ignore[arg-type]

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


def _parse(name: str, text: str, hint: object) -> object:
    """Turn the text of one --set value into the field's type."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if text not in options:
            raise ProfileError(f"--set {name}: {text!r} is not one of {', '.join(options)}")
        return text
    if origin is tuple:
        return tuple(part for part in text.split(",") if part)
    if hint is bool:
        if text not in ("true", "false"):
            raise ProfileError(f"--set {name}: {text!r} is neither true nor false")
        return text == "true"
    if origin in (types.UnionType, typing.Union) and text.lower() == "none":
        return None
    try:
        return int(text.replace("_", ""))
    except ValueError:
        raise ProfileError(f"--set {name}: {text!r} is not a whole number") from None
