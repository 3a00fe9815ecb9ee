"""A transfer is done exactly when the profile's rule says so, whatever order its completions take."""

import dataclasses
import itertools
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from replay.pair.receipt import Receipt, ReceiptRules
from replay.profiles.catalogue import find_profile

HARDENED = find_profile("hardened")
COUNTING, DONE_WHEN, SENDERS = (
    ("by-sender", "by-number"),
    ("every-rank", "any-rank"),
    ("real", "all"),
)

#: (senders, receivers, MLA): every kind of mix, the widest last.
TOPOLOGIES = tuple(
    (senders, receivers, mla)
    for senders, receivers in itertools.product((1, 2, 4, 8), repeat=2)
    for mla in (True, False)
)


def rules_of(topology, counting="by-sender", done_when="every-rank", senders="real"):
    """The parties of a topology and the rules that count their completions."""
    prefill_tp, decode_tp, mla = topology
    profile = dataclasses.replace(
        HARDENED,
        prefill_tp=prefill_tp,
        prefill_dp=1,
        decode_tp=decode_tp,
        decode_dp=1,
        mla=mla,
        counts_completions=counting,
        done_when=done_when,
        expected_senders=senders,
    )
    return profile.parties(), ReceiptRules(profile, profile.parties())


def awaited(parties, senders):
    """The pairs that a receipt waits for, dummies included where the profile counts them in."""
    dummies = parties.dummy_senders if senders == "all" else ()
    return {*parties.completions, *((sender, parties.completions[0][1]) for sender in dummies)}


def ranks_done(pairs, heard):
    """Decode TP ranks that have heard from all their senders."""
    return {rank for _, rank in pairs} - {rank for _, rank in pairs - heard}


@st.composite
def deliveries(draw, pairs):
    """These completions in any order, some of them repeated, and perhaps not to the end."""
    pairs = sorted(pairs)
    again = draw(st.lists(st.sampled_from(pairs), max_size=2 * len(pairs))) if pairs else []
    order = draw(st.permutations(pairs + again))
    return order[: draw(st.integers(0, len(order)))] if draw(st.booleans()) else order


topologies = st.sampled_from(TOPOLOGIES)
every_topology = pytest.mark.parametrize("topology", TOPOLOGIES, ids=str)


@given(topologies, st.sampled_from(SENDERS), st.data())
def test_told_apart_it_is_done_when_everybody_was_heard_and_not_before(topology, senders, data):
    parties, rules = rules_of(topology, senders=senders)
    wanted, receipt, heard = awaited(parties, senders), Receipt(rules), set()
    assert not receipt.is_done
    for pair in data.draw(deliveries(wanted)):
        assert receipt.take(*pair) == (pair not in heard), "news the first time, and only then"
        heard.add(pair)
        done = ranks_done(wanted, heard)
        assert receipt.is_done == (heard == wanted)
        assert receipt.is_split == (0 < len(done) < topology[1])


@given(topologies, st.data())
def test_where_one_rank_is_enough_the_first_to_be_done_is(topology, data):
    parties, rules = rules_of(topology, done_when="any-rank")
    wanted, receipt, heard = awaited(parties, "real"), Receipt(rules), set()
    for pair in data.draw(deliveries(wanted)):
        receipt.take(*pair)
        heard.add(pair)
        assert receipt.is_done == bool(ranks_done(wanted, heard))


@given(topologies, st.sampled_from(SENDERS), st.data())
def test_counted_only_it_is_done_after_so_many_whoever_they_were_from(topology, senders, data):
    parties, rules = rules_of(topology, "by-number", senders=senders)
    wanted, receipt = awaited(parties, senders), Receipt(rules)
    for count, pair in enumerate(data.draw(deliveries(wanted)), start=1):
        assert receipt.take(*pair) == (count <= len(wanted))
        assert receipt.is_done == (count >= len(wanted))


@given(topologies, st.sampled_from(COUNTING), st.sampled_from(DONE_WHEN), st.data())
def test_no_bug_in_counting_makes_a_transfer_take_longer(topology, counting, done_when, data):
    """What a careless rule skips is a check: it is done no later than a careful one."""
    parties, careless = rules_of(topology, counting, done_when)
    _, careful = rules_of(topology)
    wanted = awaited(parties, "real")
    receipts = Receipt(careless), Receipt(careful)
    for pair in data.draw(deliveries(wanted)):
        was_done = receipts[0].is_done
        for receipt in receipts:
            receipt.take(*pair)
        assert receipts[0].is_done >= was_done, "done stays done"
        assert receipts[0].is_done >= receipts[1].is_done


def test_where_one_rank_is_enough_a_count_that_is_full_is_enough_too():
    """Two bugs at once; eight copies of one completion must not wedge what one bug lets through."""
    topology = (8, 2, False)
    parties, both = rules_of(topology, "by-number", "any-rank")
    receipt = Receipt(both)
    for pair in (parties.completions[0],) * len(parties.completions) + parties.completions:
        receipt.take(*pair)
    assert receipt.is_done


@every_topology
@pytest.mark.parametrize("counting", COUNTING)
@pytest.mark.parametrize("done_when", DONE_WHEN)
def test_each_once_and_in_any_order_is_enough_for_every_rule(topology, counting, done_when):
    parties, rules = rules_of(topology, counting, done_when)
    for order in (parties.completions, parties.completions[::-1]):
        receipt = Receipt(rules)
        for at, pair in enumerate(order, start=1):
            assert receipt.take(*pair)
            if done_when == "every-rank":
                assert receipt.is_done == (at == len(order))
        assert receipt.is_done
        assert not receipt.is_split


@every_topology
def test_dummies_that_are_waited_for_never_let_a_transfer_end(topology):
    parties, rules = rules_of(topology, senders="all")
    receipt = Receipt(rules)
    for pair in parties.completions * 3:
        receipt.take(*pair)
    assert receipt.is_done == (not parties.dummy_senders)


@given(topologies, st.sampled_from(COUNTING), st.data())
def test_a_second_copy_stands_in_for_another_rank_only_where_it_is_not_told_apart(
    topology, counting, data
):
    parties, rules = rules_of(topology, counting)
    assume(len(parties.completions) > 1)
    told = data.draw(st.sampled_from(parties.completions))
    receipt = Receipt(rules)
    for _ in parties.completions:
        receipt.take(*told)
    assert receipt.is_done == (counting == "by-number")


@given(topologies, st.sampled_from(COUNTING), st.data())
def test_a_rank_has_a_success_once_one_of_its_completions_has_counted(topology, counting, data):
    parties, rules = rules_of(topology, counting)
    receipt, successes = Receipt(rules), set()
    for sender, receiver in data.draw(deliveries(set(parties.completions))):
        if receipt.take(sender, receiver):
            successes.add(receiver)
        for rank in range(topology[1]):
            assert receipt.has_success(rank) == (rank in successes)


@given(topologies, st.data())
def test_strangers_count_for_nothing_where_senders_are_told_apart(topology, data):
    parties, rules = rules_of(topology)
    strangers = {
        (sender, receiver) for sender in range(topology[0] + 1) for receiver in range(topology[1])
    } - set(parties.completions)
    receipt = Receipt(rules)
    for pair in data.draw(deliveries(strangers)):
        assert not receipt.take(*pair)
    assert not receipt.is_done
    assert not receipt.is_split
    assert not any(receipt.has_success(rank) for rank in range(topology[1]))


@given(topologies, st.data())
def test_receipts_of_one_rule_do_not_share_what_they_heard(topology, data):
    parties, rules = rules_of(topology)
    receipts = [Receipt(rules), Receipt(rules)]
    heard = Counter()
    for number in data.draw(st.lists(st.integers(0, 1), max_size=20)):
        if heard[number] < len(parties.completions):
            assert receipts[number].take(*parties.completions[heard[number]])
            heard[number] += 1
    for number, receipt in enumerate(receipts):
        assert receipt.is_done == (heard[number] == len(parties.completions))
        assert receipt.failed_ranks == set()
