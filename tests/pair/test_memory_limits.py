"""What happens when slots and pages are short: who waits, who is retracted, who holds how much."""

import dataclasses

import pytest
from engine_helpers import BACKENDS, HARDENED, lone_request, replay_small
from hypothesis import given
from hypothesis import strategies as st

from faults.rule import FaultRule
from replay.pair.running_batch import RunningBatch
from replay.pool.pool import KvPool
from replay.profiles.defects import all_defects
from replay.verdict.rules import objections
from traces.schema import TraceRequest


@pytest.fixture
def victims(monkeypatch):
    """Who was retracted, in order, and who was in the batch then."""
    seen, pick = [], RunningBatch.pick_victim

    def spy(batch):
        victim = pick(batch)
        if victim is not None:
            seen.append((victim.request_id, [each.request_id for each in batch.requests]))
        return victim

    monkeypatch.setattr(RunningBatch, "pick_victim", spy)
    return seen


@pytest.mark.parametrize("slots", [1, 2, 64])
def test_prefill_admits_as_many_as_it_has_first_token_buffers(tmp_path, slots):
    requests = [TraceRequest(f"r{n}", n, 100, 5) for n in range(6)]
    run = replay_small(tmp_path, HARDENED, requests, prefill_metadata_slots=slots)
    rows = [run.requests[f"r{n}"] for n in range(6)]
    assert objections(run.summary) == []
    assert {row["decode_state"] for row in rows} == {"finished"}
    for number, row in enumerate(rows):
        before = [each["landed_us"] for each in rows[:number]]
        # A buffer is held until the acknowledgement.
        still_held = sum(landed_us > row["prefill_start_us"] for landed_us in before)
        assert still_held < slots
    starts = [row["prefill_start_us"] for row in rows]
    assert len(set(starts)) == (1 if slots == 64 else 6 // slots)


@pytest.mark.parametrize(("fault", "waits_us"), [("drop", 30_000_000), ("delay", 400_000)])
def test_a_buffer_whose_acknowledgement_does_not_come_keeps_the_next_one_out(
    tmp_path, fault, waits_us
):
    late = FaultRule("rule", fault, "prefill", request_ids=frozenset({"first"}), delay_us=waits_us)
    two = [TraceRequest("first", 0, 100, 5), TraceRequest("r", 0, 100, 5)]
    run = replay_small(tmp_path, HARDENED, two, late, prefill_metadata_slots=1)
    waited_us = run.requests["r"]["prefill_start_us"] - run.requests["first"]["landed_us"]
    assert 0 <= waited_us - waits_us < 5_000
    assert run.requests["r"]["decode_state"] == "finished"
    assert run.verdict == "transient"


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("page_size", [1, 64])
@pytest.mark.parametrize(
    ("prompt", "output"), [(1, 1), (1, 2), (62, 2), (63, 2), (64, 2), (60, 4), (60, 5), (60, 6)]
)
def test_overlap_holds_one_token_more_at_the_end(tmp_path, page_size, prompt, output, overlap):
    """A rank that loses its last result leaves behind just what the request held at its end.

    The first output token comes with the prompt, and its KV with the next step; one more step is
    run before anybody notices that the last token is there.
    """
    run = replay_small(
        tmp_path,
        HARDENED,
        [TraceRequest("r", 0, prompt, output)],
        page_size=page_size,
        overlap_schedule=overlap,
        **all_defects()["result-dropped-in-the-loop"].changes,
    )
    tokens = prompt + max(1, output - 1) + overlap
    assert run.summary["kinds"] == {"orphaned": -(-tokens // page_size)}
    assert run.summary["mismatch"]["gap"] == -(-tokens // page_size) * page_size


#: Two of one batch; where neither has decoded more, the longer prompt goes first.
TWINS = [TraceRequest("long", 0, 40, 30), TraceRequest("short", 0, 20, 30)]
TIGHT = {
    "total_tokens": 80,
    "prefill_total_tokens": 80,
    "reserved_decode_tokens": 0,
    "transfer_us_per_page": 0,
}


@pytest.mark.parametrize(("order", "victim"), [("fewest-decoded", "long"), ("last", "short")])
def test_of_two_that_have_decoded_alike_the_profile_says_who_is_retracted(
    tmp_path, victims, order, victim
):
    run = replay_small(tmp_path, HARDENED, TWINS, retracts_first=order, **TIGHT)
    assert victims == [(victim, ["long", "short"])]
    other = {"long": "short", "short": "long"}[victim]
    assert run.requests[other]["ended_us"] < run.requests[victim]["ended_us"]
    assert objections(run.summary) == []


@given(
    shapes=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5)), min_size=1, max_size=6),
    spare=st.integers(0, 8),
    order=st.sampled_from(["fewest-decoded", "last"]),
)
def test_nobody_is_retracted_while_the_next_step_fits_and_then_one_by_the_rule(
    shapes, spare, order
):
    """Pages of four tokens; each of `shapes` is a prompt and what was decoded after it."""
    pool = KvPool("p", 4 * 64, 4, 1, BACKENDS["host"], False)
    pool.acquire(999, 64 - spare)
    batch = RunningBatch(pool, order)
    for ordinal, (prompt, decoded) in enumerate(shapes):
        request = lone_request(ordinal, prompt, 100)
        request.kv_tokens, request.steps_left = prompt + decoded, 100 - decoded
        batch.add(request)
    victim = batch.pick_victim()
    needed = sum((prompt + decoded) % 4 == 0 for prompt, decoded in shapes)
    if needed <= spare:
        assert victim is None
    elif order == "last":
        assert victim.ordinal == len(shapes) - 1
    else:
        least = min(decoded for _, decoded in shapes)
        longest = max(prompt for prompt, decoded in shapes if decoded == least)
        assert shapes[victim.ordinal] == (longest, least)


@pytest.mark.parametrize("order", ["fewest-decoded", "last"])
@pytest.mark.parametrize("page_size", [1, 16])
@pytest.mark.parametrize("alike", [True, False])
def test_a_retracted_request_resumes_with_its_contents(tmp_path, victims, page_size, order, alike):
    """What comes back from the backup is read again, prompt and decoded tokens alike."""
    requests = [TraceRequest(f"r{n}", n * 50_000, 30 + n, 60) for n in range(4)]
    if alike:
        requests = [dataclasses.replace(row, input_tokens=32) for row in requests]
    run = replay_small(
        tmp_path,
        HARDENED,
        requests,
        page_size=page_size,
        retracts_first=order,
        total_tokens=160,
        prefill_total_tokens=160,
        reserved_decode_tokens=0,
    )
    assert len({who for who, _ in victims}) >= 2
    assert {row["decode_state"] for row in run.requests.values()} == {"finished"}
    assert objections(run.summary) == []
    assert run.verdict == "clean"


@pytest.mark.slow
@given(
    shapes=st.lists(
        st.tuples(st.integers(20, 60), st.integers(5, 50), st.integers(0, 400_000)),
        min_size=2,
        max_size=5,
    ),
    order=st.sampled_from(["fewest-decoded", "last"]),
)
def test_however_tight_the_pool_everybody_ends_with_the_right_contents(
    tmp_path_factory, shapes, order
):
    arrivals = sorted(at_us for _, _, at_us in shapes)
    requests = [
        TraceRequest(f"r{n}", arrivals[n], prompt, output)
        for n, (prompt, output, _) in enumerate(shapes)
    ]
    run = replay_small(
        tmp_path_factory.mktemp("tight"),
        HARDENED,
        requests,
        total_tokens=128,
        prefill_total_tokens=128,
        reserved_decode_tokens=0,
        retracts_first=order,
    )
    assert {row["decode_state"] for row in run.requests.values()} == {"finished"}
    assert objections(run.summary) == []
