"""What each engine version does to one request, as measured on the real packages."""

import pytest
from engine_helpers import HARDENED, POST4, SGLANG_0_5, replay_small

from faults.rule import FaultRule
from replay.run.session import SessionOptions
from traces.schema import TraceRequest

ONE = [TraceRequest("r", 0, 100, 20)]

#: A batch that is full, so that the second request waits with its KV in place. The waiting queue is
#: emptied into the batch in the iteration that polls the completion, in the real loop as here, so
#: an abort can only find a request there when `max_running_requests` (or the slots) keep it out.
HOLDING_THE_BATCH = TraceRequest("first", 0, 10, 60)
WAITING_US = 100_000


def fault(kind, direction="decode", **conditions):
    return FaultRule("rule", kind, direction=direction, **conditions)


every_profile = pytest.mark.parametrize("profile", [POST4, SGLANG_0_5, HARDENED])


@every_profile
def test_without_a_fault_nothing_is_missing(tmp_path, profile):
    run = replay_small(tmp_path, profile, ONE)
    assert run.verdict == "clean"
    assert run.requests["r"]["decode_state"] == "finished"
    assert run.requests["r"]["prefill_state"] == "done"
    assert run.summary["mismatch"] is None
    assert not run.summary["engine_check_fired"]


@every_profile
@pytest.mark.parametrize("direction", ["decode", "prefill"])
def test_a_late_completion_heals_and_the_check_is_gated_meanwhile(tmp_path, profile, direction):
    run = replay_small(tmp_path, profile, ONE, fault("delay", direction, delay_us=500_000))
    assert run.verdict == "transient"
    assert run.summary["kinds"] == {"held": 100}
    assert run.summary["mismatch"]["available"] == 3_996
    assert run.summary["final_gap"]["tokens"] == 0
    assert run.requests["r"]["decode_state"] == "finished"
    assert not run.summary["engine_check_fired"]
    assert run.summary["engine_died_us"] is None


@pytest.mark.parametrize("profile", [POST4, SGLANG_0_5])
def test_a_lost_completion_is_a_silent_hang(tmp_path, profile):
    run = replay_small(tmp_path, profile, ONE, fault("drop"))
    assert run.verdict == "persistent"
    assert run.summary["kinds"] == {"stuck": 100}
    assert run.summary["mismatch"]["available"] == 3_996
    assert run.summary["mismatch"]["pool"] == "decode0/dp0"
    assert run.summary["mismatch"]["quiet"]
    assert not run.summary["engine_check_fired"], "the transfer queue gates the check"
    assert run.summary["engine_died_us"] is None
    assert run.requests["r"]["decode_state"] == "transfer"


@pytest.mark.parametrize("profile", [POST4, SGLANG_0_5])
def test_a_lost_acknowledgement_keeps_the_prompt_on_the_prefill_side(tmp_path, profile):
    run = replay_small(tmp_path, profile, ONE, fault("drop", "prefill"))
    assert run.verdict == "persistent"
    assert run.summary["mismatch"]["pool"] == "prefill0/dp0"
    assert run.requests["r"]["decode_state"] == "finished"
    assert run.requests["r"]["prefill_state"] == "inflight"


@pytest.mark.parametrize("direction", ["decode", "prefill"])
def test_the_hardened_profile_bounds_every_wait(tmp_path, direction):
    run = replay_small(tmp_path, HARDENED, ONE, fault("drop", direction))
    assert run.verdict == "transient"
    assert run.summary["requests"]["stuck"] == 0
    assert run.requests["r"]["decode_state"] == ("failed" if direction == "decode" else "finished")


@every_profile
@pytest.mark.parametrize("direction", ["decode", "prefill"])
@pytest.mark.parametrize("copy_delay_us", [0, 1_000, 5_000_000])
def test_a_completion_told_twice_is_fine(tmp_path, profile, direction, copy_delay_us):
    twice = fault("duplicate", direction, copies=3, copy_delay_us=copy_delay_us)
    run = replay_small(tmp_path, profile, ONE, twice)
    # Copies that come in one poll with the original are one event to whoever polls.
    assert run.verdict == ("clean" if copy_delay_us else "inconclusive")
    assert run.summary["faults"]["rules_without_effect"] == ([] if copy_delay_us else ["rule"])
    assert run.requests["r"]["decode_state"] == "finished"
    assert run.summary["oracles"]["ledger"] == 0


def test_acknowledging_twice_frees_twice_where_the_pair_has_no_guard(tmp_path):
    twice = fault("duplicate", "prefill")
    run = replay_small(tmp_path, POST4, ONE, twice, duplicate_acknowledgement="free-again")
    assert run.verdict == "persistent"
    assert run.summary["direction"] == "over-free"
    assert run.summary["kinds"] == {"over-freed": 100}
    assert run.summary["mismatch"]["available"] == 4_196
    assert run.summary["engine_check_fired"]


def test_a_failed_transfer_kills_post4(tmp_path):
    run = replay_small(tmp_path, POST4, ONE, fault("fail"))
    assert run.summary["engine_died_message"] == "Transfer failed"
    assert run.verdict == "persistent"
    assert not run.summary["engine_check_fired"]


@pytest.mark.parametrize("profile", [SGLANG_0_5, HARDENED])
def test_a_failed_transfer_is_freed_by_later_engines(tmp_path, profile):
    run = replay_small(tmp_path, profile, ONE, fault("fail"))
    assert run.verdict == "clean"
    assert run.summary["final_gap"]["tokens"] == 0
    assert run.summary["requests"]["failed"] == 1
    assert run.requests["r"]["decode_state"] == "failed"
    assert run.requests["r"]["prefill_state"] == "done"
    assert run.summary["engine_died_us"] is None


def cancelled_while_transferring():
    """Prefill starts to send at 8.5 ms and the completion is polled at 13 ms."""
    return [TraceRequest("r", 0, 100, 20, cancel_us=9_000)]


def test_post4_ignores_an_abort_while_transferring(tmp_path):
    run = replay_small(tmp_path, POST4, cancelled_while_transferring())
    assert run.verdict == "clean"
    assert run.requests["r"]["transfer_start_us"] < 9_000 < run.requests["r"]["consumed_us"]
    assert run.requests["r"]["decode_state"] == "finished"


@pytest.mark.parametrize("profile", [SGLANG_0_5, HARDENED])
def test_later_engines_free_an_abort_while_transferring(tmp_path, profile):
    run = replay_small(tmp_path, profile, cancelled_while_transferring())
    assert run.verdict == "clean"
    assert run.requests["r"]["decode_state"] == "aborted"
    assert run.summary["oracles"] == {"count": 0, "ledger": 0, "contents": 0, "liveness": 0}


def test_the_hardened_profile_waits_for_the_writer_before_it_frees(tmp_path):
    ended = []
    for at_once in (True, False):
        folder = tmp_path / str(at_once)
        folder.mkdir()
        changes = {"abort_in_transfer": "release"} if at_once else {}
        run = replay_small(
            folder, HARDENED, cancelled_while_transferring(), transfer_us=500_000, **changes
        )
        ended.append(run.requests["r"])
    landed_us = ended[1]["transfer_start_us"] + 500_000
    assert ended[0]["ended_us"] < landed_us <= ended[1]["landed_us"] <= ended[1]["ended_us"]


def aborted_while_waiting(folder, profile, **fields):
    waiting = TraceRequest("r", 0, 100, 20, cancel_us=WAITING_US)
    run = replay_small(
        folder, profile, [HOLDING_THE_BATCH, waiting], max_running_requests=1, **fields
    )
    assert run.requests["r"]["consumed_us"] < WAITING_US < run.requests["first"]["ended_us"]
    return run


def test_post4_leaks_an_abort_in_the_waiting_queue(tmp_path):
    run = aborted_while_waiting(tmp_path, POST4)
    assert run.verdict == "persistent"
    assert run.summary["kinds"] == {"orphaned": 100}
    assert run.summary["mismatch"]["available"] == 3_996
    assert run.summary["mismatch"]["total"] == 4_096
    assert run.summary["engine_check_fired"]
    words = "token_to_kv_pool_allocator memory leak detected! available_size=3996, "
    assert run.summary["engine_message"].startswith(words)
    assert run.summary["engine_died_message"].startswith(words)
    assert run.requests["r"]["decode_state"] == "lost"


@pytest.mark.parametrize("profile", [SGLANG_0_5, HARDENED])
def test_later_engines_free_an_abort_in_the_waiting_queue(tmp_path, profile):
    run = aborted_while_waiting(tmp_path, profile)
    assert run.verdict == "clean"
    assert run.requests["r"]["decode_state"] == "aborted"
    assert not run.summary["engine_check_fired"]


def test_a_warning_engine_lives_on(tmp_path):
    run = aborted_while_waiting(tmp_path, POST4, check_strictness="warn")
    assert run.summary["engine_check_fired"]
    assert run.summary["engine_died_us"] is None


def test_a_single_request_is_never_found_in_the_waiting_queue(tmp_path):
    for cancel_us in range(8_000, 16_000, 1_000):
        folder = tmp_path / str(cancel_us)
        folder.mkdir()
        run = replay_small(folder, POST4, [TraceRequest("r", 0, 100, 2, cancel_us=cancel_us)])
        assert run.requests["r"]["decode_state"] != "lost"


@pytest.mark.parametrize(("page_size", "available"), [(1, 4_095), (64, 4_032)])
def test_post4_leaks_the_placeholder_of_a_request_that_can_never_fit(
    tmp_path, page_size, available
):
    run = replay_small(tmp_path, POST4, [TraceRequest("r", 0, 9_000, 1)], page_size=page_size)
    assert run.verdict == "persistent"
    assert run.summary["mismatch"]["available"] == available
    assert run.summary["engine_check_fired"]


@every_profile
def test_eight_receivers_need_eight_completions(tmp_path, profile):
    one_of_eight = fault("delay", delay_us=400_000, decode_tp_ranks=frozenset({5}))
    run = replay_small(tmp_path, profile, ONE, one_of_eight, prefill_tp=8, decode_tp=8)
    assert run.verdict == "transient"
    counts = ("planned", "landed", "observed", "never_fired")
    assert [run.summary["faults"][name] for name in counts] == [1, 1, 1, 0]
    assert run.requests["r"]["consumed_us"] > 400_000


def test_a_leak_that_every_cycle_repeats_is_growing(tmp_path):
    run = aborted_while_waiting(tmp_path, POST4, options=SessionOptions(repeats=3))
    assert run.summary["growth"] == "growing"
    assert run.summary["final_gap"]["tokens"] == 100


def test_a_lost_completion_is_a_one_off(tmp_path):
    run = replay_small(tmp_path, POST4, ONE, fault("drop"), options=SessionOptions(repeats=3))
    assert run.summary["growth"] == "one-off"


def test_a_replay_may_stop_where_the_engine_would_have_died(tmp_path):
    options = SessionOptions(stop_on_engine_error=True)
    late = TraceRequest("late", 60_000_000, 100, 20)
    run = replay_small(tmp_path, POST4, [*ONE, late], fault("fail"), options=options)
    assert run.summary["engine_died_message"] == "Transfer failed"
    assert run.summary["virtual_us"] < 60_000_000
    assert "late" not in run.requests


def test_a_failed_transfer_lets_the_next_request_in(tmp_path):
    two = [TraceRequest("a", 0, 10, 5), TraceRequest("b", 0, 10, 5)]
    failed = fault("fail", request_ids=frozenset({"a"}))
    run = replay_small(tmp_path, SGLANG_0_5, two, failed, metadata_slots=1)
    assert run.requests["b"]["decode_state"] == "finished"


def test_a_request_that_waits_is_batched_when_the_only_running_one_is_retracted(tmp_path):
    two = [TraceRequest("a", 0, 10, 60), TraceRequest("b", 0, 30, 1)]
    run = replay_small(
        tmp_path,
        SGLANG_0_5,
        two,
        total_tokens=70,
        prefill_total_tokens=70,
        reserved_decode_tokens=0,
        max_running_requests=1,
    )
    assert run.requests["b"]["decode_state"] == "finished"


# Defects that once were: each of these failed before the engine was mended.


def test_a_rejected_request_may_arrive_while_the_last_page_is_spoken_for(tmp_path):
    arrivals = [
        TraceRequest("a", 0, 10, 59),
        TraceRequest("b", 30_000, 500, 1),
        TraceRequest("c", 1_071_080, 500, 1),
    ]
    run = replay_small(
        tmp_path,
        POST4,
        arrivals,
        total_tokens=70,
        prefill_total_tokens=70,
        reserved_decode_tokens=1,
    )
    assert run.summary["requests"]["finished"] == 1


def test_a_failed_acknowledgement_is_a_gap_when_it_happens(tmp_path):
    run = replay_small(tmp_path, POST4, ONE, fault("fail", "prefill"))
    assert run.summary["engine_died_message"] == "Transferring failed"
    first_gap = next(row for row in run.audits if row["gap"])
    assert first_gap["phase"] == "inject"


def test_one_client_abort_is_one_release_even_where_acknowledgements_free_again(tmp_path):
    aborted = [TraceRequest("r", 0, 100, 20, cancel_us=9_000)]
    run = replay_small(
        tmp_path,
        SGLANG_0_5,
        aborted,
        prefill_cache="chunk",
        duplicate_acknowledgement="free-again",
    )
    assert run.verdict == "clean"


def test_what_a_repeat_cycle_closes_was_not_healed_in_time(tmp_path):
    late = fault("delay", request_ids=frozenset({"b"}), delay_us=650_000_000)
    arrivals = [TraceRequest("a", 0, 10, 2), TraceRequest("b", 700_000_000, 10, 2)]
    for repeats in (0, 1):
        run = replay_small(tmp_path, POST4, arrivals, late, options=SessionOptions(repeats=repeats))
        assert run.verdict == "inconclusive"


def test_requests_that_leak_do_not_slow_every_later_audit(tmp_path):
    """Forgotten requests are kept for their owners' sake, but nothing may look at them again."""
    arrivals = [TraceRequest(f"r{n}", n * 1_000, 500 if n % 2 else 5, 2) for n in range(1500)]
    run = replay_small(
        tmp_path,
        POST4,
        arrivals,
        total_tokens=1400,
        prefill_total_tokens=1400,
        request_slots=2048,
        reserved_decode_tokens=1000,
    )
    assert run.summary["requests"]["aborted"] == 750
    assert run.summary["timing"]["cpu_s"] < 10


def test_a_retracted_request_comes_back_when_the_pool_is_its_own(tmp_path):
    held_back = fault("delay", request_ids=frozenset({"b"}), delay_us=2_000_000)
    run = replay_small(
        tmp_path,
        HARDENED,
        [TraceRequest("a", 0, 10, 60), TraceRequest("b", 0, 5, 1)],
        held_back,
        total_tokens=70,
        prefill_total_tokens=70,
        reserved_decode_tokens=8,
    )
    assert run.verdict == "transient"
    assert run.requests["a"]["decode_state"] == "finished"
