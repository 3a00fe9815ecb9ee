"""Words that several places must know are the same in all of them."""

from typing import get_args

from replay.commands.options import VERDICTS
from replay.commands.printing import summary as summary_text
from replay.pair.request import DECODE_ENDED, PREFILL_ENDED
from replay.recording import kinds
from replay.recording.kinds import KindName, ShareKind, VerdictName
from reports import words


def test_states_in_which_a_side_is_done_are_the_engines():
    assert set(kinds.DECODE_ENDED) == {state.value for state in DECODE_ENDED}
    assert set(kinds.PREFILL_ENDED) == {state.value for state in PREFILL_ENDED}


def test_every_verdict_has_a_sign_everywhere():
    assert set(get_args(VerdictName)) == set(VERDICTS) == set(words.VERDICTS)
    assert set(get_args(VerdictName)) == set(kinds.VERDICT_SIGNS)
    assert set(get_args(VerdictName)) == set(summary_text._COLOURS)
    assert {verdict: sign for verdict, (sign, _) in words.VERDICTS.items()} == kinds.VERDICT_SIGNS


def test_every_share_of_a_gap_is_a_kind_or_becomes_one():
    renamed = {ShareKind.STALLED, ShareKind.DEPARTED}
    assert {kind.value for kind in set(ShareKind) - renamed} <= set(get_args(KindName))
