"""`trace synth --like`: close to the source in every number that is modelled, and none of its names."""

import json
from collections import OrderedDict
from itertools import takewhile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from likeness_helpers import like, rows_of
from trace_helpers import as_plain, make_request

import traces.likeness.draws
import traces.likeness.fitting
import traces.likeness.generation
import traces.likeness.prompts
from replay.cli import run_command_line
from traces.dataset import TraceWriter, open_trace
from traces.likeness.draws import RankJitter
from traces.likeness.fitting import fit_trace
from traces.likeness.generation import LikenessOptions, write_trace_like
from traces.statistics.inspection import compare_traces, inspect_trace
from traces.synthesis import SynthesisOptions, write_synthetic_trace


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


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_hundred_thousand_requests_like_the_published_log(conversation, tmp_path, seed):
    path = like(conversation, tmp_path / "like", 100_000, seed)
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
    path = like(conversation, tmp_path / "like")
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
    for request in rows_of(path):
        hashes = request.block_hashes.tolist()
        found += sum(1 for _ in takewhile(cache.__contains__, hashes))
        total += len(hashes)
        for value in reversed(hashes):
            cache[value] = None
            cache.move_to_end(value)
        while len(cache) > blocks_max:
            cache.popitem(last=False)
    return found / total


@pytest.mark.slow
def test_a_small_cache_finds_as_much_as_in_the_published_log(conversation, tmp_path):
    path = like(conversation, tmp_path / "like")
    for blocks_max in (1000, 5000, 20_000):
        was = _lru_hit_rate(conversation, blocks_max)
        assert _lru_hit_rate(path, blocks_max) == pytest.approx(was, abs=0.02), blocks_max


@pytest.mark.slow
def test_sessions_aborts_and_reuse_of_a_chat(chat, tmp_path):
    path = like(chat, tmp_path / "like", 24_000, 3)
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
    for request in rows_of(path):
        former = last.get(request.session_id)
        if former is not None:
            turns += 1
            full = min(former.input_tokens, request.input_tokens) // 64
            same = request.block_hashes[:full] == former.block_hashes[:full]
            kept += bool(same.mean() > 0.9)
        last[request.session_id] = request
    assert kept / turns > 0.85


@pytest.mark.slow
def test_no_name_and_no_hash_of_the_source_even_twice_removed(chat, tmp_path):
    paths = [chat, like(chat, tmp_path / "once", 3000), like(chat, tmp_path / "other", 3000, 1)]
    paths.append(like(paths[1], tmp_path / "twice"))
    names, hashes = [], []
    for path in paths:
        rows = rows_of(path)
        names.append({row.request_id for row in rows} | {row.session_id for row in rows})
        hashes.append({value for row in rows for value in row.block_hashes.tolist()})
    for kind in (names, hashes):
        assert len(set.union(*kind)) == sum(map(len, kind))


@pytest.mark.slow
def test_one_seed_repeats_byte_for_byte_and_a_longer_trace_starts_alike(chat, tmp_path):
    digests = [
        open_trace(like(chat, tmp_path / f"{index}", 5000, seed)).sha256()
        for index, seed in enumerate((4, 4, 5))
    ]
    assert digests[0] == digests[1] != digests[2]
    longer = rows_of(like(chat, tmp_path / "longer", 9000, 4), 5000)
    assert list(map(as_plain, longer)) == list(map(as_plain, rows_of(tmp_path / "0")))
    assert open_trace(tmp_path / "2").source == (
        "kvreplay synthesis like chat.parquet requests=5000 seed=5"
    )


@pytest.mark.slow
def test_a_hash_names_its_block_with_everything_before_it(chat, conversation, tmp_path):
    for source in (chat, conversation):
        path = like(source, tmp_path / "like", 3000)
        size = open_trace(path).block_size
        before = {}
        for request in rows_of(path):
            parent = None
            for place, value in enumerate(request.block_hashes.tolist()):
                tokens = min(size, request.input_tokens - place * size)
                assert before.setdefault(value, (parent, tokens)) == (parent, tokens)
                parent = value


@pytest.mark.slow
def test_memory_bounds_hold_and_pieces_do_not_show(chat, tmp_path, monkeypatch):
    whole = rows_of(like(chat, tmp_path / "whole", 2000))
    monkeypatch.setattr(traces.likeness.generation, "PIECE_HASHES", 100)
    assert list(map(as_plain, rows_of(like(chat, tmp_path / "cut", 2000)))) == list(
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
    like(chat, tmp_path / "bounded", 2000)
    assert len(kept) > 100 and max(kept) > 5
    plain = tmp_path / "plain"
    with TraceWriter(plain, source="t", block_size=None) as writer:
        for index in range(300):
            writer.write(make_request(index, block_hashes=None))
    like(plain, tmp_path / "bounded", 9000)


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_rate_is_scaled_and_only_that(chat, tmp_path):
    plain, fast = like(chat, tmp_path / "plain", 4000), like(chat, tmp_path / "f", 4000, 0, 500.0)
    assert [as_plain(row)[2:6] for row in rows_of(plain)] == [
        as_plain(row)[2:6] for row in rows_of(fast)
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
    like(tmp_path / "source", tmp_path / "like", 20_000)
    arrival_us = np.array([row.arrival_us for row in rows_of(tmp_path / "like")])
    medians_us = np.median(np.diff(arrival_us)[: 7 * 2500].reshape(7, 2500), axis=1)
    wanted_us = np.log(2) * np.array([1e4, 1e5, 1e6, 1e3, 1e4, 1e5, 1e6])
    assert np.log10(medians_us) == pytest.approx(np.log10(wanted_us), abs=0.4)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_jitter_in_rank_keeps_the_distribution(values):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traces.likeness.draws, "RANK_JITTER", 0.5)
        sample = np.repeat(np.array(values), 40)
        rows = np.tile(np.arange(sample.size), 5)
        drawn = RankJitter(sample).draw(rows, np.random.default_rng(len(values)))
    ordered = np.sort(drawn)
    for value in set(values):
        for side in ("left", "right"):
            wanted = np.searchsorted(np.sort(sample), value, side) / sample.size
            found = np.searchsorted(ordered, value, side) / drawn.size
            assert found == pytest.approx(wanted, abs=0.04 + 2 / sample.size)


@pytest.mark.slow
def test_the_command(chat, write_trace, tmp_path, capsys):
    path = tmp_path / "like.parquet"
    command = ["trace", "synth", "-o", str(path), "--like", str(chat)]
    assert run_command_line([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["requests"] == open_trace(path).request_count == 8000
    assert facts["like"] == {"path": str(chat), "requests": 8000, "rows": 8000, "is_sampled": False}
    assert facts["sha256"] == open_trace(path).sha256()
    assert (
        run_command_line([*command, "--requests", "30", "--seed", "2", "--rate", "9", "--force"])
        == 0
    )
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
