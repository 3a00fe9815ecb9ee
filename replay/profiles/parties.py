"""The parties of one KV transfer, from the parallel sizes of both sides.

A decode DP rank has `decode_tp / decode_dp` TP ranks, each with its own receiver; a prefill DP rank
likewise has senders. Source of the rule: sglang 0.4.6.post4, `disaggregation/mooncake/conn.py`
(MooncakeKVReceiver), and for several real senders sglang 0.5.23, `disaggregation/common/conn.py`:

    TP ranks per DP rank       senders a receiver waits for       dummies
    equal                      1, its counterpart                 none
    decode wider               1, shared by several receivers     none
    prefill wider, MLA         1 (KV is the same on all)          the other senders
    prefill wider, not MLA     prefill / decode, all real         none
"""

from __future__ import annotations

from dataclasses import dataclass

from replay.errors import ProfileError


@dataclass(frozen=True, slots=True)
class TransferParties:
    """The completions required for one transfer, as (prefill TP rank, decode TP rank)."""

    completions: tuple[tuple[int, int], ...]
    #: Senders that send bytes; each is acknowledged.
    real_senders: tuple[int, ...]
    #: Senders that only take part in the handshake and finish at once.
    dummy_senders: tuple[int, ...]
    #: Whether the two sides have different numbers of TP ranks per DP rank.
    is_mixed: bool


def transfer_parties(
    *, prefill_tp: int, prefill_dp: int, decode_tp: int, decode_dp: int, mla: bool
) -> TransferParties:
    """Pair senders and receivers for one prefill DP rank and one decode DP rank.

    Raises:
        ProfileError: a DP size does not divide its TP size, or neither width divides the other.
    """
    for side, tp, dp in (("prefill", prefill_tp, prefill_dp), ("decode", decode_tp, decode_dp)):
        if tp % dp:
            raise ProfileError(
                f"{side}_tp={tp} is not a multiple of {side}_dp={dp}: with DP attention every DP "
                "rank gets the same number of TP ranks"
            )
    senders, receivers = prefill_tp // prefill_dp, decode_tp // decode_dp
    narrow, wide = sorted((senders, receivers))
    if wide % narrow:
        raise ProfileError(
            f"{senders} prefill and {receivers} decode TP ranks per DP rank cannot be paired: "
            "one must be a multiple of the other"
        )
    if receivers >= senders:
        share = receivers // senders
        pairs = [(receiver // share, receiver) for receiver in range(receivers)]
    else:
        share = senders // receivers
        each = 1 if mla else share
        pairs = [
            (receiver * share + sender, receiver)
            for receiver in range(receivers)
            for sender in range(each)
        ]
    real = tuple(sorted({sender for sender, _ in pairs}))
    dummies = tuple(sender for sender in range(senders) if sender not in real)
    return TransferParties(tuple(pairs), real, dummies, is_mixed=wide != narrow)
