"""How long decoding takes in virtual time, to the microsecond."""

import pyarrow.parquet as pq

from replay.profile_catalogue import find_profile
from traces.schema import TraceRequest

PROFILE = find_profile("sglang-0.5.23")
POLL, BASE, EACH = (
    PROFILE.poll_interval_us,
    PROFILE.decode_step_us,
    PROFILE.decode_step_us_per_request,
)


def lives(run_json, write_trace, tmp_path, requests, *words):
    run_json(write_trace(requests), "--profile", PROFILE.name, "--out", tmp_path / "r", *words)
    rows = pq.read_table(tmp_path / "r" / "requests.parquet").to_pylist()
    return {row["request_id"]: row for row in rows}


def test_a_lone_request_decodes_one_step_a_token_after_its_prebuilt_batch(
    run_json, write_trace, tmp_path
):
    found = lives(run_json, write_trace, tmp_path, [TraceRequest("a", 0, 100, 51)])["a"]
    assert found["ended_us"] - found["running_us"] == POLL + 50 * (BASE + EACH)


def test_a_newcomer_costs_its_neighbours_one_iteration(run_json, write_trace, tmp_path):
    """The prebuilt batch of b takes a's place for one step; on another rank it would not."""
    a, b = TraceRequest("a", 0, 100, 101), TraceRequest("b", 400_000, 100, 21)
    alone = ("--set", "decode_tp=1", "--set", "decode_dp=1")
    together = lives(run_json, write_trace, tmp_path, [a, b], *alone)
    # b decodes 20 steps beside a; the one iteration of its prebuilt batch runs no forward.
    expected = POLL + POLL + 80 * (BASE + EACH) + 20 * (BASE + 2 * EACH)
    assert together["a"]["ended_us"] - together["a"]["running_us"] == expected
    apart = lives(run_json, write_trace, tmp_path, [a, b])
    # On two ranks a decodes on through b's prebuilt iteration, and the fullest rank holds one.
    assert apart["a"]["ended_us"] - apart["a"]["running_us"] == POLL + 100 * (BASE + EACH)


def test_ranks_step_together_at_the_pace_of_the_fullest(run_json, write_trace, tmp_path):
    ranks = ("--set", "decode_tp=2", "--set", "decode_dp=2")
    requests = [TraceRequest(name, 0, 100, 41) for name in ("a0", "b0", "a1", "b1", "a2")]
    found = lives(run_json, write_trace, tmp_path, requests, *ranks)
    assert found["b0"]["ended_us"] - found["b0"]["running_us"] > 39 * (BASE + 2 * EACH)
