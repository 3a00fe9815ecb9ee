"""The differences between engines and their versions, as plain data.

`EngineProfile` has one field for every difference, with its meaning and its source. The schedulers
read fields and never check a name. The defaults are the design that survives every fault; the
differences of real engines are in `replay.profiles.catalogue`, and known bugs are named bundles of
fields in `replay.profiles.defects`. `--set FIELD=VALUE` overrides a field.

    SetupFields (replay.profiles.deployment_fields)  <--  BehaviourFields (replay.profiles.behaviour_fields)  <--  here
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from replay.errors import ProfileError
from replay.profiles.behaviour_fields import BehaviourFields
from replay.profiles.parties import TransferParties, transfer_parties


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile(BehaviourFields):
    """One engine version and the deployment it runs in. Times are virtual microseconds.

    Each field is declared with its meaning and source, which `kvreplay profiles NAME` and
    `kvreplay profiles --json` print.
    """

    def __post_init__(self) -> None:
        """Check all constraints.

        Raises:
            ProfileError: a value is out of range or inconsistent with another one.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and not isinstance(value, bool) and value < 0:
                raise ProfileError(
                    f"profile field {field.name} is {value}; it must not be negative"
                )
            if isinstance(value, int) and value > NUMBER_MAX:
                what = "us, thirty years, is not a time" if "_us" in field.name else "is too much"
                raise ProfileError(
                    f"profile field {field.name} is {value}; more than {NUMBER_MAX} {what}"
                )
            if field.name in _SIZES and value > _SIZE_MAX:
                raise ProfileError(
                    f"profile field {field.name} is {value}; more than {_SIZE_MAX} is no deployment"
                )
            if value == 0 and field.name.endswith("_timeout_us"):
                raise ProfileError(
                    f"profile field {field.name} is 0; a timeout is at least 1 us, or none"
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
        # Pairs that land at different times each transfer at least one word.
        return max(words, len(self.parties().completions)) if self.transfer_skew_us else words

    def parties(self) -> TransferParties:
        """Return the parties of one transfer under this topology.

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
        """Return every field by name, as JSON values."""
        return dataclasses.asdict(self)


#: Limit for microseconds, tokens and bytes; sums and products with the values of a trace stay exact.
NUMBER_MAX = 10**15

_SIZES = (
    "prefill_instances",
    "prefill_tp",
    "prefill_dp",
    "decode_instances",
    "decode_tp",
    "decode_dp",
)
_SIZE_MAX = 1024

_AT_LEAST_ONE = (
    *_SIZES,
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
