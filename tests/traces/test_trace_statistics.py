"""`inspect_trace`: every number counted by hand on a small trace."""

import numpy as np
import pytest
from trace_helpers import make_request

from traces.errors import TraceError
from traces.statistics import inspect_trace


def _request(index, arrival_us, input_tokens, hashes, **more):
    fields = {"session_id": None, "cancel_us": None, "priority": None, "output_tokens": index + 1}
    return make_request(
        index,
        arrival_us=arrival_us,
        input_tokens=input_tokens,
        block_hashes=None if hashes is None else np.array(hashes, np.uint64),
        **{**fields, **more},
    )


def test_a_trace_counted_by_hand(write_trace):
    path = write_trace(
        [
            _request(0, 0, 40, [1, 2, 3], session_id="s"),  # 16 + 16 + 8, nothing seen
            _request(1, 0, 20, [1, 4], session_id="s", cancel_us=500),  # 16 seen of 16 + 4
            _request(2, 900_000, 100, None, priority=2),
            _request(3, 1_100_000, 40, [1, 2, 3], session_id="t", cancel_us=1_100_100),  # all
            _request(4, 3_000_000, 16, [9], priority=-1),
        ],
        name="glob[*].parquet",
    )
    facts = inspect_trace(path)
    assert facts["path"] == str(path)
    assert (facts["requests"], facts["input_tokens"], facts["output_tokens"]) == (5, 216, 15)
    assert (facts["source"], facts["block_size"], facts["duration_us"]) == ("test", 16, 3_000_000)
    assert facts["per_request"]["input_tokens"] == pytest.approx(
        {"min": 16, "p50": 40, "p90": 76, "p99": 97.6, "max": 100, "mean": 43.2}
    )
    assert facts["per_request"]["inter_arrival_us"] == pytest.approx(
        {
            "min": 0,
            "p50": 550_000,
            "p90": 1_600_000,
            "p99": 1_870_000,
            "max": 1_900_000,
            "mean": 750_000,
        }
    )
    assert facts["rate_per_s"] == pytest.approx({"mean": 4 / 3, "peak_1s": 3, "peak_60s": 5 / 60})
    assert facts["ties"] == {"distinct_arrivals": 4, "largest": 2}
    assert facts["prefix_reuse"] == pytest.approx(
        {
            "requests_with_hashes": 4,
            "blocks": 9,
            "blocks_seen": 4,
            "tokens": 116,
            "tokens_seen": 56,
            "blocks_share": 4 / 9,
            "tokens_share": 56 / 116,
        }
    )
    assert facts["sessions"] == {"count": 2, "requests": 3, "turns_mean": 1.5, "turns_max": 2}
    assert facts["aborts"]["count"] == 2
    assert facts["aborts"]["share"] == pytest.approx(0.4)
    assert facts["aborts"]["after_us"]["mean"] == pytest.approx(300)
    assert facts["priorities"] == {"-1": 1, "2": 1}


@pytest.mark.parametrize("count", [0, 1])
def test_tiny_traces_have_no_rates(write_trace, count):
    facts = inspect_trace(write_trace([_request(0, 5, 3, None)][:count], block_size=None))
    assert facts["requests"] == count
    assert facts["rate_per_s"]["mean"] is None
    assert facts["prefix_reuse"] is None
    assert facts["ties"] == {"distinct_arrivals": count, "largest": count}
    assert facts["per_request"]["inter_arrival_us"]["p50"] is None


def test_a_broken_trace_is_not_described(tmp_path):
    with pytest.raises(TraceError, match="no such file"):
        inspect_trace(tmp_path / "none.parquet")


def test_the_published_conversation_log(mooncake_log, tmp_path):
    from traces.importers import import_log

    path = tmp_path / "conv.parquet"
    import_log("mooncake", mooncake_log, path)
    facts = inspect_trace(path)
    assert (facts["requests"], facts["input_tokens"], facts["output_tokens"]) == (
        12031,
        144_793_823,
        4_122_048,
    )
    assert facts["ties"]["distinct_arrivals"] == 1180
    assert facts["prefix_reuse"]["tokens"] == facts["input_tokens"]
    # 182,790 distinct ids (0 to 182,789) among all blocks.
    assert facts["prefix_reuse"]["blocks"] - facts["prefix_reuse"]["blocks_seen"] == 182_790
