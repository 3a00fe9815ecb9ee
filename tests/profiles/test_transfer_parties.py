"""Who takes part in one transfer, for every parallel mix."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.errors import ProfileError
from replay.profiles.parties import transfer_parties


@pytest.mark.parametrize(
    ("prefill", "decode", "mla", "completions", "real", "dummies"),
    [
        ((1, 1), (1, 1), True, [(0, 0)], [0], []),
        ((4, 1), (4, 1), False, [(0, 0), (1, 1), (2, 2), (3, 3)], [0, 1, 2, 3], []),
        ((2, 1), (4, 1), True, [(0, 0), (0, 1), (1, 2), (1, 3)], [0, 1], []),
        ((2, 1), (4, 1), False, [(0, 0), (0, 1), (1, 2), (1, 3)], [0, 1], []),
        ((4, 1), (2, 1), True, [(0, 0), (2, 1)], [0, 2], [1, 3]),
        ((4, 1), (2, 1), False, [(0, 0), (1, 0), (2, 1), (3, 1)], [0, 1, 2, 3], []),
        ((8, 1), (8, 8), True, [(0, 0)], [0], [1, 2, 3, 4, 5, 6, 7]),
        ((4, 1), (8, 8), False, [(0, 0), (1, 0), (2, 0), (3, 0)], [0, 1, 2, 3], []),
        ((8, 4), (8, 4), True, [(0, 0), (1, 1)], [0, 1], []),
    ],
    ids=[
        "one rank a side",
        "equal",
        "decode wider, MLA",
        "decode wider",
        "prefill wider, MLA",
        "prefill wider, all real",
        "prefill TP 8 to DP attention, MLA",
        "prefill TP 4 to DP attention",
        "DP on both sides",
    ],
)
def test_the_table_of_parallel_mixes(prefill, decode, mla, completions, real, dummies):
    parties = transfer_parties(
        prefill_tp=prefill[0],
        prefill_dp=prefill[1],
        decode_tp=decode[0],
        decode_dp=decode[1],
        mla=mla,
    )
    assert list(parties.completions) == completions
    assert list(parties.real_senders) == real
    assert list(parties.dummy_senders) == dummies


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((8, 3, 8, 1), "prefill_tp=8 is not a multiple of prefill_dp=3"),
        ((8, 1, 4, 8), "decode_tp=4 is not a multiple of decode_dp=8"),
        ((3, 1, 2, 1), "3 prefill and 2 decode TP ranks per DP rank cannot be paired"),
        ((4, 1, 6, 1), "4 prefill and 6 decode"),
    ],
)
def test_mixes_that_cannot_be_paired_are_refused(sizes, words):
    names = ("prefill_tp", "prefill_dp", "decode_tp", "decode_dp")
    with pytest.raises(ProfileError) as raised:
        transfer_parties(**dict(zip(names, sizes, strict=True)), mla=True)
    assert words in str(raised.value)


@given(narrow=st.integers(1, 8), share=st.integers(1, 8), swap=st.booleans(), mla=st.booleans())
def test_every_receiver_waits_for_somebody_and_every_sender_has_one_role(narrow, share, swap, mla):
    senders, receivers = (narrow, narrow * share) if swap else (narrow * share, narrow)
    parties = transfer_parties(
        prefill_tp=senders, prefill_dp=1, decode_tp=receivers, decode_dp=1, mla=mla
    )
    assert {receiver for _, receiver in parties.completions} == set(range(receivers))
    assert len(set(parties.completions)) == len(parties.completions)
    assert sorted((*parties.real_senders, *parties.dummy_senders)) == list(range(senders))
    assert {sender for sender, _ in parties.completions} == set(parties.real_senders)
    each = len(parties.completions) / receivers
    assert each == (1 if mla or receivers >= senders else senders // receivers)
