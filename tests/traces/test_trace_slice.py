"""`kvreplay trace slice`: the result equals a plain reference on lists of requests."""

import dataclasses
import json
import os
import tempfile
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from trace_helpers import as_plain, make_request

import traces.dataset
from traces.dataset import TraceWriter, open_trace
from traces.errors import TraceError
from traces.schema import TIME_US_MAX, TraceRequest
from traces.slice_options import SliceOptions
from traces.slicing import slice_trace

SESSIONS = ["acme/bob-1", "acme/eve-2", "", "r3", "Ünï"]


@pytest.fixture
def kvreplay(kvreplay):
    return lambda *words: kvreplay("trace", "slice", *words)


@st.composite
def request_lists(draw, time_us_max=60):
    size = draw(st.integers(0, 25))
    times = st.integers(0, time_us_max)
    arrivals = sorted(draw(st.lists(times, min_size=size, max_size=size)))
    requests = []
    for index, arrival_us in enumerate(arrivals):
        blocks = draw(st.integers(1, 3))
        hashes = draw(st.none() | st.lists(st.integers(0, 9), min_size=blocks, max_size=blocks))
        requests.append(
            TraceRequest(
                request_id=f"r{index}",
                arrival_us=arrival_us,
                input_tokens=blocks * 16,
                output_tokens=draw(st.integers(1, 9)),
                block_hashes=None if hashes is None else np.array(hashes, np.uint64),
                session_id=draw(st.none() | st.sampled_from(SESSIONS)),
                cancel_us=draw(st.none() | st.integers(arrival_us, arrival_us + 50)),
                priority=draw(st.none() | st.integers(-128, 127)),
            )
        )
    return requests


@st.composite
def slice_options(draw, requests):
    """Options that mostly leave something; now and then a session that is not there."""
    from_us = draw(st.just(0) | st.integers(0, 50))
    names = sorted({r.session_id for r in requests} - {None}) or ["no"]
    sessions = st.frozensets(st.sampled_from(names), min_size=1)
    return SliceOptions(
        from_us=from_us,
        until_us=draw(st.none() | st.integers(from_us + 1, 70)),
        sessions=draw(st.none() | sessions | sessions.map(lambda s: s | {"no"})),
        sample_share=draw(st.none() | st.floats(0, 1, exclude_min=True)),
        sample_seed=draw(st.integers(0, 5)),
        requests_max=draw(st.none() | st.integers(1, 12)),
        speed=draw(st.just(Fraction(1)) | st.fractions(Fraction(1, 50), 50, max_denominator=100)),
        keep_times=draw(st.booleans()),
    )


def is_sampled(owner, share, seed):
    digest = blake2b(owner.encode(), digest_size=8, key=seed.to_bytes(8, "little")).digest()
    return Fraction(int.from_bytes(digest, "little"), 2**64) < Fraction(share) - Fraction(
        share
    ) % Fraction(1, 2**64)


def reference(requests, options):
    """What a slice is, in plain Python; None where it must be an error."""
    if options.sessions and options.sessions - {r.session_id for r in requests}:
        return None
    until_us = 2**70 if options.until_us is None else options.until_us
    kept = [r for r in requests if options.from_us <= r.arrival_us < until_us]
    if options.sessions is not None:
        kept = [r for r in kept if r.session_id in options.sessions]
    if options.sample_share is not None:
        owner = {r.request_id: r.request_id if r.session_id is None else r.session_id for r in kept}
        share, seed = options.sample_share, options.sample_seed
        kept = [r for r in kept if is_sampled(owner[r.request_id], share, seed)]
    kept = kept[: options.requests_max]
    shift_us = 0 if options.keep_times else options.from_us
    moved = []
    for request in kept:
        arrival_us = int((request.arrival_us - shift_us) // options.speed)
        cancel_us = request.cancel_us
        if cancel_us is not None:
            cancel_us = arrival_us + (request.cancel_us - request.arrival_us)
        moved.append(dataclasses.replace(request, arrival_us=arrival_us, cancel_us=cancel_us))
    return moved or None


def write(path, requests, source="a log"):
    with TraceWriter(path, source=source, block_size=16) as writer:
        for request in requests:
            writer.write(request)
    return Path(path)


def sliced(requests, options, batch_rows=4):
    """The rows of the slice, read in small batches; None where there was none and no file."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(traces.dataset, "BATCH_ROWS", batch_rows)
        source, output = write(Path(folder) / "in", requests), Path(folder) / "out"
        try:
            count = slice_trace(source, output, options)
        except TraceError:
            assert [path.name for path in Path(folder).iterdir()] == ["in"]
            return None
        rows = [as_plain(request) for request in open_trace(output).iter_requests()]
        assert count == len(rows)
        return rows


@pytest.mark.slow
@given(request_lists(), st.integers(1, 9), st.data())
def test_a_slice_is_what_the_reference_says(requests, batch_rows, data):
    options = data.draw(slice_options(requests))
    expected = reference(requests, options)
    found = sliced(requests, options, batch_rows)
    assert found == (None if expected is None else [as_plain(r) for r in expected])


@pytest.mark.parametrize("requests_max", [1, 3, 4, 5, 8, 39, 40, 41])
def test_head_counts_across_batches(requests_max):
    requests = [make_request(i) for i in range(40)]
    found = sliced(requests, SliceOptions(requests_max=requests_max))
    assert found == [as_plain(r) for r in requests[:requests_max]]


@pytest.mark.slow
@given(request_lists(), st.integers(1, 60))
def test_two_slices_that_meet_make_the_whole(requests, cut_us):
    before = sliced(requests, SliceOptions(until_us=cut_us)) or []
    after = sliced(requests, SliceOptions(from_us=cut_us, keep_times=True)) or []
    assert before + after == [as_plain(r) for r in requests]


@pytest.mark.slow
@given(request_lists(), st.floats(0, 1, exclude_min=True), st.floats(0, 1), st.integers(0, 9))
def test_a_sample_keeps_sessions_whole_and_grows_with_the_share(requests, share, part, seed):
    assume(share * part > 0)
    large = sliced(requests, SliceOptions(sample_share=share, sample_seed=seed)) or []
    small = sliced(requests, SliceOptions(sample_share=share * part, sample_seed=seed)) or []
    kept = {row[0] for row in large}
    assert {row[0] for row in small} <= kept
    for session in SESSIONS:
        turns = {r.request_id for r in requests if r.session_id == session}
        assert turns <= kept or not turns & kept


@pytest.mark.slow
def test_a_sample_has_about_its_share_and_depends_on_the_seed():
    requests = [
        make_request(i, session_id=f"s{i // 2}" if i < 4000 else None, cancel_us=None)
        for i in range(8000)
    ]
    seeds = [sliced(requests, SliceOptions(sample_share=0.25, sample_seed=s), 999) for s in (0, 1)]
    for rows in seeds:
        assert 1850 < len(rows) < 2150
    assert seeds[0] == sliced(requests, SliceOptions(sample_share=0.25), 4096)
    # Independent samples have a share of the share in common.
    both = {row[0] for row in seeds[0]} & {row[0] for row in seeds[1]}
    assert 350 < len(both) < 650
    assert len(sliced(requests, SliceOptions(sample_share=1.0), 999)) == 8000


@pytest.mark.slow
@given(
    request_lists(time_us_max=2**61),
    st.integers(1, 10**12),
    st.sampled_from([1, 3, 10, 10**6]),
)
def test_speed_is_exact_however_large_the_times(requests, numerator, denominator):
    speed = Fraction(numerator, denominator)
    assume(Fraction(1, 10**6) <= speed <= 10**6)
    last_us = max((r.arrival_us for r in requests), default=0)
    found = sliced(requests, SliceOptions(speed=speed))
    if not requests or last_us // speed + 50 > TIME_US_MAX:
        # Whether the patience still fits is looked at below.
        return
    assert found == [as_plain(r) for r in reference(requests, SliceOptions(speed=speed))]


def test_times_that_no_longer_fit_are_refused(tmp_path):
    slow = SliceOptions(speed=Fraction(1, 2))
    at_the_end = TraceRequest("a", 2**61 - 1, 1, 1, cancel_us=2**61 + 1)
    assert sliced([at_the_end], slow)[0][1] == 2**62 - 2
    for changes in ({"cancel_us": 2**61 + 2}, {"arrival_us": 2**61 + 1, "cancel_us": None}):
        source = write(tmp_path / "in", [dataclasses.replace(at_the_end, **changes)])
        with pytest.raises(TraceError, match="exceeds 2\\*\\*62 us"):
            slice_trace(source, tmp_path / "out", slow)
        assert not (tmp_path / "out").exists()


def test_speed_is_exact_where_a_product_would_overflow():
    requests = [
        TraceRequest("a", 5, 1, 1),
        TraceRequest("b", 2**61 + 12345, 1, 1, cancel_us=2**61 + 12346),
    ]
    options = SliceOptions(speed=Fraction(1_234_567, 1_000_000))
    assert sliced(requests, options) == [as_plain(r) for r in reference(requests, options)]


@pytest.mark.parametrize(
    ("options", "rows_read"),
    [
        (SliceOptions(requests_max=3), 4),
        (SliceOptions(requests_max=4), 4),
        (SliceOptions(until_us=65), 8),
        (SliceOptions(until_us=75), 12),
        (SliceOptions(requests_max=1, sessions=frozenset({"s0", "s10"})), 12),
        (SliceOptions(from_us=50, until_us=60), 8),
        (SliceOptions(), 40),
    ],
)
def test_reading_stops_when_no_later_row_can_matter(tmp_path, monkeypatch, options, rows_read):
    monkeypatch.setattr(traces.dataset, "BATCH_ROWS", 4)
    source = write(tmp_path / "in", [make_request(i) for i in range(40)])
    steps = []
    slice_trace(source, tmp_path / "out", options, steps.append)
    assert steps == list(range(4, rows_read + 1, 4))


def test_the_source_note_says_what_was_done(tmp_path):
    source = write(tmp_path / "in", [make_request(i) for i in range(40)])
    cases = [
        (SliceOptions(), "of everything"),
        (SliceOptions(until_us=1500), "until 0.0015 s"),
        (SliceOptions(from_us=10, keep_times=True), "from 1e-05 s, times kept"),
        (
            SliceOptions(10, 300, frozenset({"s2"}), 1.0, 3, 5, Fraction(5, 2)),
            "from 1e-05 s until 0.0003 s, 1 session, sample 1.0 seed 3, head 5, speed 2.5",
        ),
        (SliceOptions(sessions=frozenset({"s2", "s4"})), "2 sessions"),
    ]
    for options, words in cases:
        slice_trace(source, tmp_path / "out", options)
        assert open_trace(tmp_path / "out").source == f"a log | slice {words}"
        assert open_trace(tmp_path / "out").block_size == 16
    unnamed = write(tmp_path / "unnamed", [make_request(0)], source="")
    slice_trace(unnamed, tmp_path / "out", SliceOptions(requests_max=1))
    assert open_trace(tmp_path / "out").source == "slice head 1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"from_us": -1}, "time range"),
        ({"from_us": 5, "until_us": 5}, "from 5e-06 s until 5e-06 s is empty"),
        ({"until_us": 2**63}, "time range"),
        ({"sample_share": 0.0}, "share above 0"),
        ({"sample_share": 1.5}, "share above 0"),
        ({"sample_share": float("nan")}, "share above 0"),
        ({"sample_seed": -1}, "the seed is -1"),
        ({"sample_seed": 2**64}, "the seed is"),
        ({"requests_max": 0}, "at least 1 request"),
        ({"speed": Fraction(0)}, "the speed is 0"),
        ({"speed": Fraction(10**6 + 1)}, "the speed is"),
        ({"speed": Fraction(1, 10**6 + 1)}, "the speed is"),
        ({"speed": Fraction(2, 10**6 + 1)}, "the speed is"),
    ],
)
def test_options_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(TraceError, match=message):
        SliceOptions(**settings)


def test_the_command_line_reaches_every_option(kvreplay, tmp_path):
    requests = [make_request(i, arrival_us=i * 100_000, cancel_us=None) for i in range(40)]
    source, output = write(tmp_path / "in", requests), tmp_path / "out"
    cases = [
        ((), SliceOptions()),
        (("--from", 1, "--until", "2.5"), SliceOptions(1_000_000, 2_500_000)),
        (("--from", 0.1 + 0.2), SliceOptions(300_000)),
        (("--from", 1, "--keep-times"), SliceOptions(1_000_000, keep_times=True)),
        (("--session", "s2", "--session", "s8"), SliceOptions(sessions=frozenset({"s2", "s8"}))),
        (("--sample", 0.5, "--seed", 9), SliceOptions(sample_share=0.5, sample_seed=9)),
        (("--head", 3, "--speed", 0.1), SliceOptions(requests_max=3, speed=Fraction(1, 10))),
        (("--speed", ".25"), SliceOptions(speed=Fraction(1, 4))),
        (("--speed", "1000000"), SliceOptions(speed=Fraction(10**6))),
    ]
    for arguments, options in cases:
        code, out, err = kvreplay(source, "-o", output, *arguments, "--force")
        expected = [as_plain(r) for r in reference(requests, options)]
        assert (code, err) == (0, "")
        assert out == f"{output}: {len(expected)} of 40 requests\n"
        assert [as_plain(r) for r in open_trace(output).iter_requests()] == expected, arguments
    code, out, err = kvreplay(source, "-o", output, "--head", 2, "--json", "--force")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "path": str(output),
        "requests": 2,
        "requests_before": 40,
        "source": "a log | slice head 2",
        "block_size": 16,
        "sha256": open_trace(output).sha256(),
    }


def test_bad_input_is_one_sentence_and_nothing_is_written(kvreplay, tmp_path):
    source = write(tmp_path / "in", [make_request(i) for i in range(40)])
    empty = write(tmp_path / "empty", [])
    present = sorted(tmp_path.iterdir())
    cases = [
        ((source, "--session", "s1"), "has no session 's1'"),
        ((source, "--session", "s0", "--session", "s"), "has no session 's'"),
        ((source, "--session", "\udcff"), "has no session"),
        ((source, "--from", 1), "'from 1.0 s' keeps none of 40 requests"),
        ((source, "--session", "s20", "--until", 0.0001), "'1 session' keeps none of 10 requests"),
        ((source, "--session", "s0", "--sample", 1e-9), "'sample 1e-09 seed 0' keeps none of 1 "),
        ((empty,), "has no requests to slice"),
        ((source, "--from", 2, "--until", 1), "from 2.0 s until 1.0 s is empty"),
        ((source, "--from", -1), "Invalid value for '--from'"),
        ((source, "--until", "nan"), "Invalid value for '--until'"),
        ((source, "--until", "inf"), "Invalid value for '--until'"),
        ((source, "--until", "x"), "Invalid value for '--until'"),
        ((source, "--sample", 0), "must be a number between 0 and 1, a share above 0"),
        ((source, "--sample", "nan"), "must be a number between 0 and 1"),
        ((source, "--seed", -1), "the seed is -1"),
        ((source, "--head", 0), "at least 1 request"),
        ((source, "--speed", 0), "the speed is 0"),
        ((source, "--speed", "1e999999999"), "Invalid value for '--speed'"),
        ((source, "--speed", "1/3"), "Invalid value for '--speed'"),
        ((tmp_path / "none",), "no such file"),
    ]
    for arguments, message in cases:
        code, out, err = kvreplay(*arguments, "-o", tmp_path / "out")
        assert (code, out) == (2, ""), arguments
        assert message in err and "Traceback" not in err, err
    assert sorted(tmp_path.iterdir()) == present


def test_the_trace_is_not_overwritten(kvreplay, tmp_path):
    source = write(tmp_path / "in", [make_request(i) for i in range(4)])
    content = source.read_bytes()
    (tmp_path / "soft").symlink_to(source)
    os.link(source, tmp_path / "hard")
    for output in (source, tmp_path / "soft", tmp_path / "hard"):
        code, out, err = kvreplay(source, "-o", output, "--head", 1)
        assert (code, out) == (2, "") and "which this command reads" in err
    assert source.read_bytes() == content


def test_help_explains_order_and_patience(kvreplay):
    code, out, _ = kvreplay("--help")
    text = " ".join(out.split())
    assert code == 0
    assert "Example:\n    kvreplay trace slice " in out
    assert "time, session, sample, head; then speed" in text and "patience" in text
