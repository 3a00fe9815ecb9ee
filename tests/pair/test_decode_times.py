"""How long decoding takes in virtual time, to the microsecond."""

import pyarrow.parquet as pq
import pytest

from replay.profiles.catalogue import find_profile
from traces.schema import TraceRequest

#: One whose prebuilt batches take an iteration of their own, and one that decodes in it at once.
PREBUILT = find_profile("sglang-0.4.6.post4")
AT_ONCE = find_profile("sglang-0.5.23")
POLL, BASE, EACH = (
    PREBUILT.poll_interval_us,
    PREBUILT.decode_step_us,
    PREBUILT.decode_step_us_per_request,
)


def lives(run_json, write_trace, tmp_path, requests, profile, *words):
    run_json(
        write_trace(requests), "--profile", profile.name, "--out", tmp_path / "r", "--force", *words
    )
    rows = pq.read_table(tmp_path / "r" / "requests.parquet").to_pylist()
    return {row["request_id"]: row for row in rows}


def decode_time(request):
    return request["ended_us"] - request["running_us"]


@pytest.mark.parametrize(("profile", "prebuilt_us"), [(PREBUILT, POLL), (AT_ONCE, 0)])
@pytest.mark.parametrize("overlaps", [True, False])
def test_a_lone_request_decodes_one_step_a_token(
    run_json, write_trace, tmp_path, profile, prebuilt_us, overlaps
):
    """With overlap scheduling its last result is looked at one iteration late."""
    late = ("--set", f"overlap_schedule={str(overlaps).lower()}")
    request = TraceRequest("a", 0, 100, 51)
    found = lives(run_json, write_trace, tmp_path, [request], profile, *late)["a"]
    assert decode_time(found) == prebuilt_us + (50 + overlaps) * (BASE + EACH)


@pytest.mark.parametrize(("profile", "prebuilt_us"), [(PREBUILT, POLL), (AT_ONCE, 0)])
def test_a_newcomer_costs_its_neighbours_its_prebuilt_batch(
    run_json, write_trace, tmp_path, profile, prebuilt_us
):
    """The prebuilt batch of b takes a's place for one step; on another rank it would not."""
    a, b = TraceRequest("a", 0, 100, 101), TraceRequest("b", 400_000, 100, 21)
    alone = ("--set", "decode_tp=1", "--set", "decode_dp=1")
    together = lives(run_json, write_trace, tmp_path, [a, b], profile, *alone)["a"]
    # b decodes 21 steps beside a; the one iteration of its prebuilt batch runs no forward.
    expected = 2 * prebuilt_us + 80 * (BASE + EACH) + 21 * (BASE + 2 * EACH)
    assert decode_time(together) == expected
    apart = lives(run_json, write_trace, tmp_path, [a, b], profile)["a"]
    # On two ranks a decodes on through b's prebuilt iteration, and the fullest rank holds one.
    assert decode_time(apart) == prebuilt_us + 101 * (BASE + EACH)


def test_ranks_step_together_at_the_pace_of_the_fullest(run_json, write_trace, tmp_path):
    ranks = ("--set", "decode_tp=2", "--set", "decode_dp=2")
    requests = [TraceRequest(name, 0, 100, 41) for name in ("a0", "b0", "a1", "b1", "a2")]
    found = lives(run_json, write_trace, tmp_path, requests, AT_ONCE, *ranks)
    assert found["b0"]["ended_us"] - found["b0"]["running_us"] > 39 * (BASE + 2 * EACH)
