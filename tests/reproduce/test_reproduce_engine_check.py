"""The numbers of a report, found by the engine's own check, inside its own gate."""

import json
import shlex
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from replay.cli import run_command_line

ACCEPTED = [
    (13_824_256, 13_858_304, 64),
    (13_824_256, 13_858_304, 1),
    (3_996, 4_096, 1),
    (3_189_424, 3_185_200, 16),
]


def words(available, total):
    """What sglang 0.4.6 prints."""
    return (
        f"token_to_kv_pool_allocator memory leak detected! available_size={available}, "
        f"protected_size=0, self.max_total_num_tokens={total}\n"
        f"self.token_to_kv_pool_allocator.available_size()={available}\n"
        "self.tree_cache.evictable_size()=0\n"
    )


def asked(available, total, page_size):
    numbers = ("--available", available, "--total", total, "--page-size", page_size)
    return ("reproduce", *numbers, "--engine-check")


@pytest.mark.parametrize(("available", "total", "page_size"), ACCEPTED)
def test_the_engine_itself_says_the_very_numbers(
    kvreplay, tmp_path, monkeypatch, available, total, page_size
):
    monkeypatch.chdir(tmp_path)
    code, out, err = kvreplay(*asked(available, total, page_size), "--out", "A", "--json")
    summary = json.loads(out)
    assert (code, summary["verdict"]) == (0, "persistent")
    assert summary["engine_check_fired"]
    assert summary["engine_died_message"] == words(available, total)
    assert summary["engine_message"] == words(available, total)
    mismatch = summary["mismatch"]
    assert (mismatch["available"], mismatch["total"]) == (available, total)
    assert (mismatch["gap"], mismatch["page_size"]) == (total - available, page_size)
    assert mismatch["evictable"] == mismatch["protected"] == 0
    assert mismatch["live"] == mismatch["in_transfer"] == 0
    assert mismatch["quiet"]
    assert summary["final_gap"]["tokens"] == total - available
    assert summary["direction"] == ("leak" if available < total else "over-free")
    assert mismatch["pool"].startswith("decode" if available < total else "prefill")
    assert summary["reproduction"]["came_out"]
    # A leak is made without touching a single completion.
    assert (summary["faults"]["planned"] > 0) == (available > total)

    line = next(line for line in err.splitlines() if line.startswith("reproduce: "))
    again = shlex.split(line.removeprefix("reproduce: "))
    assert again[:2] == ["kvreplay", "run"]
    code, out, _ = kvreplay(*again[1:], "--json")
    repeated = json.loads(out)
    del summary["timing"], repeated["timing"], summary["reproduction"]
    assert code == 1
    assert repeated == summary | {"reproduce": repeated["reproduce"]}


def test_the_line_of_a_repetition_repeats_once_more(kvreplay, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    summaries = []
    line = shlex.join(str(word) for word in ("kvreplay", *asked(3_996, 4_096, 1), "--out", "A B"))
    for _ in range(3):
        _, out, err = kvreplay(*shlex.split(line)[1:], "--json")
        summary = json.loads(out)
        for key in ("timing", "reproduction", "reproduce"):
            summary.pop(key, None)
        summaries.append(summary)
        line = err.splitlines()[-1].removeprefix("reproduce: ")
    assert summaries[0] == summaries[1] == summaries[2]


@pytest.mark.parametrize("profile", ["sglang-0.4.6.post3", "sglang-0.4.6.post5"])
@pytest.mark.parametrize(("available", "total"), [(3_996, 4_096), (4_196, 4_096)])
def test_other_versions_that_leak_say_so_too(kvreplay, tmp_path, profile, available, total):
    code, out, _ = kvreplay(
        *asked(available, total, 1), "--profile", profile, "--out", tmp_path / "A", "--json"
    )
    summary = json.loads(out)
    assert (code, summary["verdict"]) == (0, "persistent")
    assert summary["engine_check_fired"]
    assert summary["engine_message"] == words(available, total)
    warns = profile == "sglang-0.4.6.post3"
    assert summary["engine_died_message"] == (None if warns else words(available, total))


def test_a_version_that_frees_leaks_again_with_the_bug_and_in_its_own_words(kvreplay, tmp_path):
    bug = ("--profile", "sglang-0.5.23", "--defect", "abort-in-waiting-leaks")
    code, out, err = kvreplay(*asked(3_996, 4_096, 1), *bug, "--out", tmp_path / "A", "--json")
    summary = json.loads(out)
    assert code == 0, err
    assert summary["engine_died_message"] == (
        "pool memory leak detected! [full] total=4096, available=3996, evictable=0, protected=0, "
        "session_held=0, uncached=0"
    )
    assert "--defect abort-in-waiting-leaks" in summary["reproduce"]


def test_an_engine_that_cried_wolf_before_has_not_said_it(kvreplay, tmp_path):
    """The check asks no queue, so it dies of other numbers before these come out."""
    ungated = ("--defect", "idle-check-ungated", "--out", tmp_path / "A", "--json")
    code, out, err = kvreplay(*asked(3_996, 4_096, 1), *ungated)
    summary = json.loads(out)
    assert summary["mismatch"]["available"] == 3_996
    assert summary["engine_died_message"] != words(3_996, 4_096)
    assert (code, summary["reproduction"]["came_out"]) == (1, False)
    assert "did not give" in err


def test_without_the_option_the_gate_hides_the_same_gap(kvreplay, tmp_path):
    code, out, _ = kvreplay(*asked(3_996, 4_096, 1)[:-1], "--out", tmp_path / "A", "--json")
    summary = json.loads(out)
    assert (code, summary["verdict"]) == (0, "persistent")
    assert not summary["engine_check_fired"]
    assert summary["engine_died_message"] is None
    assert summary["mismatch"]["available"] == 3_996


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (("--profile", "sglang-0.5.23"), "--defect abort-in-waiting-leaks"),
        (("--profile", "hardened"), "--defect abort-in-waiting-leaks"),
        (("--profile", "vllm-0.33"), "no idle check"),
        (("--as", "transient"), "--as persistent"),
        (("--set", "check_strictness=none"), "no idle check"),
        (("--set", "abort_in_waiting=release"), "--defect abort-in-waiting-leaks"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("out", [("--out", "A"), ()])
def test_what_cannot_fire_is_refused_in_one_sentence(
    kvreplay, tmp_path, monkeypatch, extra, says, out
):
    monkeypatch.chdir(tmp_path)
    code, text, err = kvreplay(*asked(3_996, 4_096, 1), *extra, *out)
    assert (code, text) == (2, "")
    assert len(err.splitlines()) == 1
    assert says in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extra", [("--profile", "vllm-0.33"), ("--set", "check_strictness=none")])
def test_an_over_free_that_no_check_can_see_is_refused_as_well(
    kvreplay, tmp_path, monkeypatch, extra
):
    monkeypatch.chdir(tmp_path)
    code, text, err = kvreplay(*asked(4_196, 4_096, 1), *extra)
    assert (code, text) == (2, ""), err
    assert len(err.splitlines()) == 1
    assert "no idle check" in err
    assert list(tmp_path.iterdir()) == []


def reproduced(page_size, total_pages, gap_pages, seed):
    """(exit code, summary or None) of a gap, negative for an over-free, and its numbers."""
    total, available = total_pages * page_size, (total_pages - gap_pages) * page_size
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "A"
        line = [*asked(available, total, page_size), "--seed", seed, "--out", out]
        code = run_command_line([str(word) for word in line])
        if not out.exists():
            return code, None, available, total
        summary = json.loads((out / "recording" / "summary.json").read_text())
    return code, summary, available, total


def assert_came_out(summary, available, total):
    assert summary["verdict"] == "persistent"
    assert summary["engine_check_fired"]
    assert summary["engine_died_message"] == words(available, total)
    assert (summary["mismatch"]["available"], summary["mismatch"]["total"]) == (available, total)


#: Shrinking takes minutes here, and numbers are as good as smaller ones.
QUICK = settings(
    max_examples=8,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)
page_sizes, seeds = st.sampled_from((1, 4, 16, 64)), st.integers(0, 3)


@pytest.mark.slow
@QUICK
@given(page_sizes, st.integers(1, 300), st.booleans(), seeds)
def test_any_gap_comes_out_where_the_pool_has_room(page_size, gap_pages, is_leak, seed):
    total_pages = gap_pages + 40_000 // page_size
    gap = (page_size, total_pages, gap_pages if is_leak else -gap_pages, seed)
    code, summary, available, total = reproduced(*gap)
    assert code == 0, summary and summary["why"]
    assert_came_out(summary, available, total)


@pytest.mark.slow
@QUICK
@given(page_sizes, st.integers(1, 300), st.integers(-150, 300).filter(bool), seeds)
def test_in_a_tight_pool_it_comes_out_or_is_said_not_to(page_size, total_pages, gap_pages, seed):
    gap = (page_size, total_pages, min(gap_pages, total_pages), seed)
    code, summary, available, total = reproduced(*gap)
    assert (summary is None) == (code == 2)
    assert code in (0, 1, 2)
    if code == 0:
        assert_came_out(summary, available, total)


@pytest.mark.parametrize(
    ("available", "total", "page_size"),
    [
        # A request as short as one of the chosen holds the batch.
        pytest.param(35_244, 42_308, 1, id="a log of 2024"),
        # Less is left than what the engine keeps in reserve for each request.
        pytest.param(644, 270_331, 1, id="a log of 0.5.3"),
        pytest.param(480, 2_544, 16, id="a small pool"),
    ],
)
def test_numbers_of_real_logs_come_out_although_little_is_left(
    kvreplay, tmp_path, available, total, page_size
):
    """As they do without the check (`test_reproduce.py`)."""
    out = ("--out", tmp_path / "A", "--json")
    code, text, err = kvreplay(*asked(available, total, page_size), *out)
    assert code == 0, err
    assert_came_out(json.loads(text), available, total)
