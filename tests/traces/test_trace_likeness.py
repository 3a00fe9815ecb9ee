"""`trace synth --like`: close to the source in every number that is modelled, and none of its names."""

import json
from collections import OrderedDict
from itertools import islice, takewhile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_helpers import as_plain, make_request

import traces.likeness.fitting
import traces.likeness.generation
import traces.likeness.prompts
import traces.likeness.resampling
from replay.cli import run_command_line
from traces.dataset import TraceWriter, open_trace
from traces.errors import TraceError
from traces.likeness.fitting import fit_trace
from traces.likeness.generation import LikenessOptions, write_trace_like
from traces.likeness.resampling import RankJitter
from traces.statistics.comparison import compare_traces
from traces.statistics.inspection import inspect_trace
from traces.synthesis import SynthesisOptions, write_synthetic_trace


def _like(source, path, requests=None, seed=0, rate_per_s=None):
    model = fit_trace(source)
    options = LikenessOptions(requests or model.request_count, seed, rate_per_s)
    assert write_trace_like(model, options, path) == options.requests
    return path


def _rows(path, count=None):
    return list(islice(open_trace(path).iter_requests(), count))


def _age_distance(one, other, column):
    """Kolmogorov-Smirnov distance of a fitted column of two models."""
    one, other = (np.sort(model.rows[column]) for model in (one, other))
    places = np.union1d(one, other)
    shares = [
        np.searchsorted(column, places, side="right") / column.size for column in (one, other)
    ]
    return np.abs(shares[0] - shares[1]).max()


@pytest.fixture(scope="module")
def conversation(mooncake_log, tmp_path_factory):
    path = tmp_path_factory.mktemp("mooncake") / "conv.parquet"
    arguments = ["trace", "import", str(mooncake_log), "--format", "mooncake", "-o", str(path)]
    assert run_command_line(arguments) == 0
    return path


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """Multi-turn sessions with system prompts, bursts and aborts."""
    path = tmp_path_factory.mktemp("chat") / "chat.parquet"
    options = SynthesisOptions(
        requests=8000, rate_per_s=20, turns_mean=6, abort_rate=0.1, arrivals="bursty", block_size=64
    )
    write_synthetic_trace(options, path)
    return path


@pytest.mark.parametrize("seed", [0, 1])
def test_a_hundred_thousand_requests_like_the_published_log(conversation, tmp_path, seed):
    path = _like(conversation, tmp_path / "like", 100_000, seed)
    facts = compare_traces(path, conversation)
    for name in ("input_tokens", "output_tokens", "inter_arrival_us"):
        assert facts["columns"][name]["ks_distance"] < 0.01, name
    assert abs(facts["prefix_hit_rate"]["difference_points"]) < 1
    for name in ("mean", "peak_1s", "peak_60s"):
        pair = facts["rate_per_s"][name]
        assert pair["trace"] == pytest.approx(pair["against"], rel=0.1), name
    for name in ("1s", "60s"):
        pair = facts["dispersion"][name]
        assert pair["trace"] == pytest.approx(pair["against"], rel=0.2), name
    assert inspect_trace(path)["ties"]["largest"] == inspect_trace(conversation)["ties"]["largest"]


def test_requests_of_the_published_log_stay_what_they_were_together(conversation, tmp_path):
    path = _like(conversation, tmp_path / "like")
    source, made = fit_trace(conversation), fit_trace(path)
    # What a request found, and how long that had waited.
    assert _age_distance(source, made, "blocks_seen") < 0.01
    assert _age_distance(source, made, "context_age") < 0.05
    # Answers and found blocks follow the length of the prompt: alike in every eighth of them.
    by_length = []
    for model in (source, made):
        rows = model.rows[np.argsort(model.rows["input_tokens"], kind="stable")]
        parts = np.array_split(rows, 8)
        by_length.append(
            [
                (
                    part["output_tokens"].mean(),
                    part["blocks_seen"].sum() / part["input_tokens"].sum(),
                )
                for part in parts
            ]
        )
    outputs, shares = np.array(by_length).transpose(2, 0, 1)
    assert outputs[1] == pytest.approx(outputs[0], rel=0.03)
    assert shares[1] == pytest.approx(shares[0], rel=0.05)
    assert outputs[0].max() > 1.1 * outputs[0].min()
    assert shares[0].max() > 1.5 * shares[0].min()


def _lru_hit_rate(path, blocks_max):
    """Share of the blocks that a cache of so many finds, which forgets what waited longest."""
    cache, found, total = OrderedDict(), 0, 0
    for request in _rows(path):
        hashes = request.block_hashes.tolist()
        found += sum(1 for _ in takewhile(cache.__contains__, hashes))
        total += len(hashes)
        for value in reversed(hashes):
            cache[value] = None
            cache.move_to_end(value)
        while len(cache) > blocks_max:
            cache.popitem(last=False)
    return found / total


def test_a_small_cache_finds_as_much_as_in_the_published_log(conversation, tmp_path):
    path = _like(conversation, tmp_path / "like")
    for blocks_max in (1000, 5000, 20_000):
        was = _lru_hit_rate(conversation, blocks_max)
        assert _lru_hit_rate(path, blocks_max) == pytest.approx(was, abs=0.02), blocks_max


def test_sessions_aborts_and_reuse_of_a_chat(chat, tmp_path):
    path = _like(chat, tmp_path / "like", 24_000, 3)
    facts, was, now = compare_traces(path, chat), inspect_trace(chat), inspect_trace(path)
    for name in ("input_tokens", "output_tokens", "inter_arrival_us", "after_us"):
        assert facts["columns"][name]["ks_distance"] < 0.03, name
    assert abs(facts["prefix_hit_rate"]["difference_points"]) < 1.5
    assert abs(facts["abort_share"]["difference_points"]) < 0.1
    assert now["sessions"]["turns_mean"] == pytest.approx(was["sessions"]["turns_mean"], rel=0.05)
    assert now["sessions"]["turns_max"] < 4 * was["sessions"]["turns_max"]
    assert facts["dispersion"]["1s"]["trace"] == pytest.approx(was["dispersion"]["1s"], rel=0.2)
    assert _age_distance(fit_trace(chat), fit_trace(path), "session_age") < 0.2
    # A later turn begins with the blocks of the former one.
    last, kept, turns = {}, 0, 0
    for request in _rows(path):
        former = last.get(request.session_id)
        if former is not None:
            turns += 1
            full = min(former.input_tokens, request.input_tokens) // 64
            same = request.block_hashes[:full] == former.block_hashes[:full]
            kept += bool(same.mean() > 0.9)
        last[request.session_id] = request
    assert kept / turns > 0.85


def test_no_name_and_no_hash_of_the_source_even_twice_removed(chat, tmp_path):
    paths = [chat, _like(chat, tmp_path / "once", 3000), _like(chat, tmp_path / "other", 3000, 1)]
    paths.append(_like(paths[1], tmp_path / "twice"))
    names, hashes = [], []
    for path in paths:
        rows = _rows(path)
        names.append({row.request_id for row in rows} | {row.session_id for row in rows})
        hashes.append({value for row in rows for value in row.block_hashes.tolist()})
    for kind in (names, hashes):
        assert len(set.union(*kind)) == sum(map(len, kind))


def test_one_seed_repeats_byte_for_byte_and_a_longer_trace_starts_alike(chat, tmp_path):
    digests = [
        open_trace(_like(chat, tmp_path / f"{index}", 5000, seed)).sha256()
        for index, seed in enumerate((4, 4, 5))
    ]
    assert digests[0] == digests[1] != digests[2]
    longer = _rows(_like(chat, tmp_path / "longer", 9000, 4), 5000)
    assert list(map(as_plain, longer)) == list(map(as_plain, _rows(tmp_path / "0")))
    assert open_trace(tmp_path / "2").source == (
        "kvreplay synthesis like chat.parquet requests=5000 seed=5"
    )


def test_a_hash_names_its_block_with_everything_before_it(chat, conversation, tmp_path):
    for source in (chat, conversation):
        path = _like(source, tmp_path / "like", 3000)
        size = open_trace(path).block_size
        before = {}
        for request in _rows(path):
            parent = None
            for place, value in enumerate(request.block_hashes.tolist()):
                tokens = min(size, request.input_tokens - place * size)
                assert before.setdefault(value, (parent, tokens)) == (parent, tokens)
                parent = value


def test_memory_bounds_hold_and_pieces_do_not_show(chat, tmp_path, monkeypatch):
    whole = _rows(_like(chat, tmp_path / "whole", 2000))
    monkeypatch.setattr(traces.likeness.generation, "PIECE_HASHES", 100)
    assert list(map(as_plain, _rows(_like(chat, tmp_path / "cut", 2000)))) == list(
        map(as_plain, whole)
    )
    monkeypatch.setattr(traces.likeness.prompts, "HASHES_MAX", 2000)
    monkeypatch.setattr(traces.likeness.prompts, "PROMPTS_MAX", 50)
    trim, kept = traces.likeness.prompts.PromptReservoir.trim, []

    def watched(self):
        trim(self)
        hashes = sum(view.size for view in self._hashes)
        assert hashes == self._hash_count <= 2000
        kept.append(max(len(self._full_blocks), sum(map(len, self._by_size))))
        assert len(self._open_sessions) <= kept[-1] <= 50

    monkeypatch.setattr(traces.likeness.prompts.PromptReservoir, "trim", watched)
    _like(chat, tmp_path / "bounded", 2000)
    assert len(kept) > 100 and max(kept) > 5
    plain = tmp_path / "plain"
    with TraceWriter(plain, source="t", block_size=None) as writer:
        for index in range(300):
            writer.write(make_request(index, block_hashes=None))
    _like(plain, tmp_path / "bounded", 9000)


def test_of_a_huge_source_a_sample_spread_over_it_is_kept(chat, tmp_path, monkeypatch):
    everything = fit_trace(chat).rows
    monkeypatch.setattr(traces.likeness.fitting, "SAMPLE_ROWS_MAX", 3000)
    monkeypatch.setattr(traces.likeness.fitting, "SEGMENT_ROWS", 100)
    model = fit_trace(chat)
    assert model.is_sampled
    assert 1500 <= model.rows.size <= 3000
    assert model.rows["row"][-1] > 7500
    # What a kept row reused was looked for in all rows, kept or not.
    assert (model.rows == everything[model.rows["row"]])[1:].all()
    path = tmp_path / "like"
    write_trace_like(model, LikenessOptions(8000, 1), path)
    facts = compare_traces(path, chat)
    assert facts["columns"]["input_tokens"]["ks_distance"] < 0.06
    assert abs(facts["prefix_hit_rate"]["difference_points"]) < 3
    # A quarter of the source stands for all of its time.
    mean = facts["rate_per_s"]["mean"]
    assert mean["trace"] == pytest.approx(mean["against"], rel=0.25)


def test_the_rate_is_scaled_and_only_that(chat, tmp_path):
    plain, fast = _like(chat, tmp_path / "plain", 4000), _like(chat, tmp_path / "f", 4000, 0, 500.0)
    assert [as_plain(row)[2:6] for row in _rows(plain)] == [
        as_plain(row)[2:6] for row in _rows(fast)
    ]
    rates = [inspect_trace(path)["rate_per_s"]["mean"] for path in (chat, plain, fast)]
    assert rates[2] == pytest.approx(500 / rates[0] * rates[1], rel=1e-3)


@pytest.mark.parametrize("rows_max", [2**20, 3000])
def test_the_rate_over_time_comes_back_cycle_after_cycle(tmp_path, monkeypatch, rows_max):
    monkeypatch.setattr(traces.likeness.fitting, "SAMPLE_ROWS_MAX", rows_max)
    monkeypatch.setattr(traces.likeness.fitting, "SEGMENT_ROWS", 100)
    gaps_us = np.random.default_rng(0).exponential(np.repeat([1e4, 1e5, 1e6, 1e3], 2500))
    with TraceWriter(tmp_path / "source", source="t", block_size=None) as writer:
        for index, arrival_us in enumerate(np.cumsum(gaps_us).astype(int).tolist()):
            writer.write(
                make_request(index, arrival_us=arrival_us, cancel_us=None, block_hashes=None)
            )
    _like(tmp_path / "source", tmp_path / "like", 20_000)
    arrival_us = np.array([row.arrival_us for row in _rows(tmp_path / "like")])
    medians_us = np.median(np.diff(arrival_us)[: 7 * 2500].reshape(7, 2500), axis=1)
    wanted_us = np.log(2) * np.array([1e4, 1e5, 1e6, 1e3, 1e4, 1e5, 1e6])
    assert np.log10(medians_us) == pytest.approx(np.log10(wanted_us), abs=0.4)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_jitter_in_rank_keeps_the_distribution(values):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traces.likeness.resampling, "RANK_JITTER", 0.5)
        sample = np.repeat(np.array(values), 40)
        rows = np.tile(np.arange(sample.size), 5)
        drawn = RankJitter(sample).draw(rows, np.random.default_rng(len(values)))
    ordered = np.sort(drawn)
    for value in set(values):
        for side in ("left", "right"):
            wanted = np.searchsorted(np.sort(sample), value, side) / sample.size
            found = np.searchsorted(ordered, value, side) / drawn.size
            assert found == pytest.approx(wanted, abs=0.04 + 2 / sample.size)


def test_a_model_counted_by_hand(write_trace):
    rows = [
        make_request(i, input_tokens=tokens, block_hashes=np.array(hashes, np.uint64), **more)
        for i, (tokens, hashes, more) in enumerate(
            [
                (40, [1, 2, 3], {"session_id": "a", "cancel_us": None}),
                (48, [1, 2, 4], {"session_id": "b", "cancel_us": 15, "priority": 3}),
                (40, [1, 2, 3], {"session_id": None, "cancel_us": None}),  # all, the tail too
                (16, [9], {"session_id": None, "cancel_us": None}),
                (48, [1, 2, 4], {"session_id": "b", "cancel_us": None}),  # all, and no tail
            ]
        )
    ]
    model = fit_trace(write_trace(rows))
    found = {name: model.rows[name].tolist() for name in model.rows.dtype.names}
    assert found["blocks_seen"] == [0, 2, 2, 0, 3]
    assert found["is_repeat"] == [False, False, True, False, False]
    assert found["context_age"] == [0, 1, 2, 0, 3]
    assert found["session_age"] == [0, 0, 0, 0, 3]
    assert found["has_session"] == [True, True, False, False, True]
    assert found["abort_after_us"] == [-1, 5, -1, -1, -1]
    assert found["gap_us"] == [10] * 5
    assert (model.request_count, model.duration_us, model.block_size) == (5, 40, 16)


@pytest.mark.parametrize("block_size", [64, 512])
def test_repeated_prompts_repeat(write_trace, tmp_path, block_size):
    """200 prompts that end in a partial block, each sent five times: four fifths are seen."""
    rows = []
    for index in range(1000):
        tokens, first = 100 + index % 200, 10 * (index % 200)
        hashes = np.arange(first, first + -(-tokens // block_size), dtype=np.uint64)
        changes = {"input_tokens": tokens, "block_hashes": hashes, "session_id": None}
        rows.append(make_request(index, **changes))
    source = write_trace(rows, block_size=block_size)
    facts = compare_traces(_like(source, tmp_path / "like", 3000), source)
    assert facts["prefix_hit_rate"]["against"] == pytest.approx(0.8)
    assert abs(facts["prefix_hit_rate"]["difference_points"]) < 1
    assert facts["columns"]["input_tokens"]["ks_distance"] < 0.05


def test_priorities_and_missing_values_keep_their_shares(write_trace, tmp_path):
    rows = [
        make_request(
            index,
            priority=[None, -3, 5, 5][index % 4],
            block_hashes=None if index % 5 == 0 else np.arange(3, dtype=np.uint64) + 9 * index,
            session_id=f"s{index // 3}" if index % 2 else None,
        )
        for index in range(1000)
    ]
    path = _like(write_trace(rows), tmp_path / "like", 2000)
    made = _rows(path)
    assert inspect_trace(path)["priorities"] == {"-3": 500, "5": 1000}
    assert sum(row.block_hashes is None for row in made) == 400
    assert sum(row.session_id is not None for row in made) == 1000


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("block_size", [None, 16])
def test_sources_with_hardly_anything_in_them(write_trace, tmp_path, count, block_size):
    nothing = {"session_id": None, "cancel_us": None, "priority": None, "arrival_us": 77}
    if block_size is None:
        nothing["block_hashes"] = None
    source = write_trace([make_request(i, **nothing) for i in range(count)], "s", block_size)
    made = _rows(_like(source, tmp_path / "like", 50))
    assert {row.arrival_us for row in made} == {0}
    assert {(row.input_tokens, row.output_tokens) for row in made} == {(33, 4)}
    assert all(row.session_id is row.cancel_us is row.priority is None for row in made)
    with pytest.raises(TraceError, match="arrive at once, so there is no rate to change"):
        _like(source, tmp_path / "like", 5, 0, 3.0)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), count=st.integers(1, 30), block_size=st.sampled_from([None, 1, 7]))
def test_any_source_makes_a_valid_trace(data, count, block_size, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    rows, arrival_us = [], 0
    for index in range(count):
        arrival_us += data.draw(st.sampled_from([0, 1, 10**6, 10**11]))
        tokens = data.draw(st.integers(1, 40))
        hashes = None
        if block_size and data.draw(st.booleans()):
            hashes = np.array([data.draw(st.integers(0, 9))] * -(-tokens // block_size), np.uint64)
        delay_us = data.draw(st.sampled_from([None, 0, 5, 2**60]))
        rows.append(
            make_request(
                index,
                arrival_us=arrival_us,
                input_tokens=tokens,
                block_hashes=hashes,
                session_id=data.draw(st.sampled_from([None, "a", "b"])),
                cancel_us=None if delay_us is None else arrival_us + delay_us,
                priority=data.draw(st.sampled_from([None, -128, 127])),
            )
        )
    with TraceWriter(folder / "s", source="t", block_size=block_size) as writer:
        for row in rows:
            writer.write(row)
    made = open_trace(_like(folder / "s", folder / "like", 80, data.draw(st.integers(0, 9))))
    made.validate()
    assert (made.request_count, made.block_size) == (80, block_size)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"requests": 0}, "requests is 0; it must be between 1 and 2147483647"),
        ({"seed": -1}, "seed is -1"),
        ({"rate_per_s": float("nan")}, "rate_per_s is nan"),
    ],
)
def test_options_that_make_no_trace_are_refused(changes, message):
    with pytest.raises(TraceError) as caught:
        LikenessOptions(**{"requests": 5, **changes})
    assert message in str(caught.value)


def test_the_command(chat, write_trace, tmp_path, capsys):
    path = tmp_path / "like.parquet"
    command = ["trace", "synth", "-o", str(path), "--like", str(chat)]
    assert run_command_line([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["requests"] == open_trace(path).request_count == 8000
    assert facts["like"] == {"path": str(chat), "requests": 8000, "rows": 8000, "is_sampled": False}
    assert facts["sha256"] == open_trace(path).sha256()
    assert run_command_line([*command, "--requests", "30", "--seed", "2", "--rate", "9"]) == 0
    assert capsys.readouterr().out == f"{path}: 30 requests, seed 2\n"
    before = path.read_bytes()
    empty = write_trace([], "empty", None)
    for arguments, message in (
        ([*command, "--prompt-tokens", "512"], "--prompt-tokens has no meaning together with"),
        ([*command, "--arrivals", "poisson"], "--arrivals has no meaning together with --like"),
        ([*command, "--requests", "0"], "requests is 0; it must be between"),
        ([*command[:-1], str(tmp_path)], "is a directory"),
        ([*command[:-1], str(empty)], "has no requests to learn from"),
        ([*command, "--requests", "2147483647", "--rate", "1e-6"], "give a higher --rate"),
    ):
        assert run_command_line(arguments) == 2
        out, err = capsys.readouterr()
        assert out == "" and message in err and err.count("\n") == 1
    assert path.read_bytes() == before


def test_a_sampled_source_is_said_to_be_one(chat, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(traces.likeness.fitting, "SAMPLE_ROWS_MAX", 3000)
    path = tmp_path / "like"
    assert run_command_line(["trace", "synth", "-o", str(path), "--like", str(chat)]) == 0
    assert "of the 8,000 requests" in capsys.readouterr().out
