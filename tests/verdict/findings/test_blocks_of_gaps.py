"""Stays in a gap as blocks: what lasts, what came back, and a stay that two episodes share."""

import pytest

from replay.verdict.count import Count
from replay.verdict.episodes import Episode, Owner


def owner(share="departed", pages=5, closed=None, can_progress=False, name="r1"):
    return Owner("decode0/dp0", name, share, pages, 3, 300, closed, can_progress, "transfer", None,
                 None if closed is None else closed * 100)  # fmt: skip


def episode(*owners, number=0, closed=None):
    tokens = 64 * sum(each.pages for each in owners)
    return Episode(
        number=number, pool="decode0/dp0", opened_audit=3, opened_us=300, closed_audit=closed,
        closed_us=None if closed is None else closed * 100, widest_audit=4, gap_tokens=tokens,
        quiet_audit=None, quiet_gap_tokens=None, last_gap_tokens=tokens, owners=owners, kinds={},
        growth=None, healed_audit=9, causes=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("share", "pages", "can_progress", "lasting", "back"),
    [
        ("departed", 5, False, "definitely leaked", "still held"),
        ("counter-drift", 5, False, "definitely leaked", "still held"),
        ("counter-drift", -5, False, "over-freed", "over-freed"),
        ("over-freed", -5, False, "over-freed", "over-freed"),
        ("stalled", 5, False, "stuck", "still held"),
        ("stalled", 5, True, "still held", "still held"),
        ("cache-held", 5, False, "stuck", "still held"),
    ],
)
def test_what_came_back_was_only_held(share, pages, can_progress, lasting, back):
    (block,) = Count((episode(owner(share, pages, None, can_progress)),)).in_gaps()
    assert (block.category, block.lasts, block.closed_us) == (lasting, True, None)
    (block,) = Count((episode(owner(share, pages, 7, can_progress), closed=7),)).in_gaps()
    assert (block.category, block.lasts, block.closed_us) == (back, False, 700)


def test_a_stay_that_two_episodes_share_is_counted_once():
    shared, other = owner(), owner(name="r2")
    blocks = Count(
        (
            episode(shared, closed=5),
            episode(shared, other, number=1),
        )
    ).in_gaps()
    assert [(block.request_id, block.episodes) for block in blocks] == [
        ("r1", (0, 1)),
        ("r2", (1,)),
    ]


def test_pages_that_nobody_has_have_no_owner():
    (block,) = Count((episode(owner("counter-drift", name="(nobody)")),)).in_gaps()
    assert block.request_id is None
