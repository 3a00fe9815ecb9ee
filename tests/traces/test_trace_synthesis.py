"""Synthetic traces: seeds repeat, distributions are the ones asked for, prefixes are shared truly."""

from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_helpers import as_plain

import traces.hashing
from traces.dataset import open_trace
from traces.errors import TraceError
from traces.hashing import chain_blocks, child_key
from traces.synthesis import SynthesisOptions, synthesize, write_synthetic_trace


def _make(**options):
    return list(synthesize(SynthesisOptions(**{"requests": 2000, **options})))


def test_one_seed_repeats_byte_for_byte_and_two_differ(tmp_path):
    digests = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        options = SynthesisOptions(requests=1500, seed=seed, abort_rate=0.1, arrivals="bursty")
        assert write_synthetic_trace(options, tmp_path / name) == 1500
        trace = open_trace(tmp_path / name)
        assert trace.source == (
            f"kvreplay synthesis requests=1500 seed={seed} arrivals=bursty abort_rate=0.1"
        )
        assert trace.block_size == 512
        trace.validate()
        digests.append(trace.sha256())
    assert digests[0] == digests[1] != digests[2]
    first, second = (list(open_trace(tmp_path / name).iter_requests()) for name in ("a", "c"))
    hashes = [{h for r in rows for h in r.block_hashes.tolist()} for rows in (first, second)]
    assert not hashes[0] & hashes[1]
    assert {r.request_id for r in first} != {r.request_id for r in second}


def test_a_longer_trace_starts_like_a_shorter_one():
    long = synthesize(SynthesisOptions(requests=50_000, seed=3))
    assert list(map(as_plain, islice(long, 300))) == list(
        map(as_plain, _make(requests=300, seed=3))
    )


def test_the_abort_rate_moves_nothing_else():
    calm, hasty = _make(abort_rate=0.0), _make(abort_rate=0.5)
    assert all(r.cancel_us is None for r in calm)
    assert [as_plain(r)[:6] for r in calm] == [as_plain(r)[:6] for r in hasty]


def test_aborts_have_the_rate_and_the_delay_asked_for():
    requests = _make(requests=6000, abort_rate=0.25, abort_s_mean=4.0)
    delays = [r.cancel_us - r.arrival_us for r in requests if r.cancel_us is not None]
    assert len(delays) / 6000 == pytest.approx(0.25, abs=0.03)
    assert np.mean(delays) == pytest.approx(4e6, rel=0.1)
    assert np.std(delays) == pytest.approx(4e6, rel=0.15)
    assert all(r.cancel_us is not None for r in _make(requests=50, abort_rate=1.0))


def test_poisson_arrivals_have_the_rate_and_no_memory():
    arrivals = np.array([r.arrival_us for r in _make(requests=8000, rate_per_s=50.0)])
    assert (np.diff(arrivals) >= 0).all()
    assert 8000 / (arrivals[-1] / 1e6) == pytest.approx(50.0, rel=0.05)
    counts = np.bincount(arrivals // 1_000_000)
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=0.35)


def test_rare_arrivals_cost_no_more_than_frequent_ones():
    (request,) = _make(requests=1, rate_per_s=1e-6)
    assert request.arrival_us > 1e9


@pytest.mark.slow
def test_bursty_arrivals_have_the_rate_and_cluster():
    options = {"arrivals": "bursty", "rate_per_s": 50.0, "burst_s_mean": 1.0}
    arrivals = np.array([r.arrival_us for r in _make(requests=20_000, turns_mean=1.0, **options)])
    assert (np.diff(arrivals) >= 0).all()
    assert 20_000 / (arrivals[-1] / 1e6) == pytest.approx(50.0, rel=0.2)
    counts = np.bincount(arrivals // 1_000_000)
    assert counts.var() / counts.mean() > 5.0


def test_lengths_have_the_medians_asked_for():
    options = {"requests": 6000, "turns_mean": 1.0, "system_tokens_median": 0}
    plain = _make(**options, prompt_tokens_median=300, output_tokens_median=80)
    inputs = np.array([r.input_tokens for r in plain])
    assert np.median(inputs) == pytest.approx(300, rel=0.08)
    assert np.log(inputs).std() == pytest.approx(0.9, rel=0.08)
    assert np.median([r.output_tokens for r in plain]) == pytest.approx(80, rel=0.08)
    mixed = np.array(
        [r.input_tokens for r in _make(**options, prompt_tokens_median=300, lengths="mixture")]
    )
    # 300 * 16 is the median of the long ones alone.
    assert (mixed > 4800).mean() == pytest.approx(0.15 / 2, abs=0.02)
    assert (inputs > 4800).mean() < 0.01


def test_turns_extend_the_former_turn_and_share_its_blocks():
    block = 64
    sessions = {}
    for request in _make(block_size=block, rate_per_s=20.0, think_s_min=2.0):
        sessions.setdefault(request.session_id, []).append(request)
    assert np.mean([len(turns) for turns in sessions.values()]) == pytest.approx(3.0, rel=0.25)
    compared = 0
    for turns in sessions.values():
        for former, later in pairwise(turns):
            compared += 1
            assert later.arrival_us - former.arrival_us >= 2_000_000
            assert later.input_tokens > former.input_tokens + former.output_tokens
            full = former.input_tokens // block
            assert (later.block_hashes[:full] == former.block_hashes[:full]).all()
            assert former.input_tokens % block == 0 or (
                later.block_hashes[full] != former.block_hashes[full]
            )
    assert compared > 500


def test_sessions_share_their_tenants_system_prompt_and_nothing_else():
    block = 32
    requests = _make(block_size=block, tenants=3, turns_mean=1.0, tokens_sigma=0.0)
    # sigma 0: every system prompt has the median 1024 tokens, every prompt 512 more.
    by_tenant = {}
    for request in requests:
        by_tenant.setdefault(request.session_id.split("/")[0], []).append(request)
    assert len(by_tenant) == 3
    shared = [
        {tuple(r.block_hashes[: 1024 // block].tolist()) for r in g} for g in by_tenant.values()
    ]
    assert [len(prompts) for prompts in shared] == [1, 1, 1]
    assert len(set.union(*shared)) == 3
    own = [h for r in requests for h in r.block_hashes[1024 // block :].tolist()]
    assert len(own) == len(set(own)) == 2000 * 16


def test_a_hash_names_its_block_with_everything_before_it():
    before = {}
    for request in _make(block_size=48, abort_rate=0.1, lengths="mixture"):
        parent = None
        for value in request.block_hashes.tolist():
            assert before.setdefault(value, parent) == parent
            parent = value


@given(
    st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 999), st.integers(0, 60)
)
def test_few_and_many_blocks_are_hashed_alike(chain, key, first, count):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traces.hashing, "_FEW_BLOCKS", 0)
        many_chain, many = chain_blocks(chain, key, first, count)
        patch.setattr(traces.hashing, "_FEW_BLOCKS", 10**9)
        few_chain, few = chain_blocks(chain, key, first, count)
    assert many_chain == few_chain
    assert many.tolist() == few.tolist()
    # Hashing in two steps is hashing in one.
    middle, head = chain_blocks(chain, key, first, count // 2)
    _, tail = chain_blocks(middle, key, first + count // 2, count - count // 2)
    assert [*head.tolist(), *tail.tolist()] == few.tolist()


def test_keys_differ():
    assert len({child_key(key, number) for key in range(50) for number in range(-20, 20)}) == 2000


@given(
    options=st.builds(
        SynthesisOptions,
        requests=st.integers(1, 60),
        seed=st.integers(0, 2**128 - 1),
        rate_per_s=st.floats(0.1, 1e6),
        arrivals=st.sampled_from(["poisson", "bursty"]),
        burst_share=st.floats(1e-4, 0.9999),
        burst_factor=st.floats(1, 1000),
        burst_s_mean=st.floats(1, 1e6),
        lengths=st.sampled_from(["lognormal", "mixture"]),
        prompt_tokens_median=st.integers(1, 10_000),
        system_tokens_median=st.integers(0, 700),
        input_tokens_max=st.integers(700, 5000),
        output_tokens_max=st.integers(1, 100),
        tenants=st.integers(1, 20),
        turns_mean=st.floats(1, 1e6),
        think_s_min=st.floats(0, 10),
        open_sessions_max=st.integers(1, 3),
        abort_rate=st.floats(0, 1),
        block_size=st.integers(1, 6000),
    )
)
def test_any_options_make_a_valid_trace(options, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "t.parquet"
    assert write_synthetic_trace(options, path) == options.requests
    trace = open_trace(path)
    assert trace.request_count == options.requests
    for request in trace.iter_requests():
        assert request.input_tokens <= options.input_tokens_max
        assert request.output_tokens <= options.output_tokens_max


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"requests": 0}, "requests is 0; it must be between 1 and 2147483647"),
        ({"seed": -1}, "seed is -1"),
        ({"abort_rate": 1.5}, "abort_rate is 1.5; it must be a number between 0 and 1"),
        ({"rate_per_s": float("nan")}, "rate_per_s is nan"),
        (
            {"arrivals": "bursty", "rate_per_s": 1e-3},
            "would contain no arrivals; raise burst_s_mean",
        ),
        ({"burst_share": 0}, "burst_share is 0; it must be between 0.0001 and 0.9999"),
        ({"arrivals": "fast"}, "arrivals is 'fast'; it must be one of poisson, bursty"),
        ({"requests": 2**31 - 1, "rate_per_s": 1e-6}, "raise rate_per_s"),
    ],
)
def test_options_that_make_no_trace_are_refused(changes, message):
    with pytest.raises(TraceError) as caught:
        SynthesisOptions(**changes)
    assert message in str(caught.value)
