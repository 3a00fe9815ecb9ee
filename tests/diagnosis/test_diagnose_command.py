"""The contract of `kvreplay diagnose`: documents, exit codes, lines that work when pasted."""

from __future__ import annotations

import gzip
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]

#: The three lines of a decode worker that died; the engine prints them in this form.
STORY = """\
ValueError: token_to_kv_pool_allocator memory leak detected! available_size=13824256, \
protected_size=0, self.max_total_num_tokens=13858304
self.token_to_kv_pool_allocator.available_size()=13824256
self.tree_cache.evictable_size()=0
"""
#: Sizes include what the cache could evict.
INCLUSIVE = """\
ValueError: token_to_kv_pool_allocator memory leak detected! available_size=3189424, \
protected_size=0, self.max_total_num_tokens=3185200
self.token_to_kv_pool_allocator.available_size()=2864304
self.tree_cache.evictable_size()=325120
"""
SPLIT = "pool memory leak detected! [{pool}] total={total}, available={available}, "
SPLIT += "evictable={evictable}, protected=0, session_held=0, uncached=0"
REST = ("persistent", "transient", "clean", "inconclusive")


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, name: str = "decode.log") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def warning(second: int, gap: int, rank: str = "DP3 TP3", total: int = 4096) -> str:
    words = SPLIT.format(pool="full", total=total, available=total - gap, evictable=0)
    return f"[2026-01-12 10:00:{second:02d} {rank}] {words}\n"


def test_the_three_lines_of_the_story(kvreplay: Run, log: Callable[..., Path]) -> None:
    code, out, _ = kvreplay("diagnose", log(STORY), "--json")
    document = json.loads(out)
    assert code == 3
    assert document["schema"] == "kvreplay.diagnosis/1"
    assert (document["engine"], document["verdict"]) == ("sglang", "inconclusive")
    assert (document["direction"], document["growth"]) == ("leak", "unknown")
    assert (document["gap"], document["observations"][0]["gap"]) == (34_048, 34_048)
    assert {"page_size": 64, "pages": 532} in document["pages"]
    assert document["observations"][0]["time"] is None
    assert document["next"]


def test_available_that_includes_evictable_is_not_counted_twice(
    kvreplay: Run, log: Callable[..., Path]
) -> None:
    _, out, _ = kvreplay("diagnose", log(INCLUSIVE), "--json")
    document = json.loads(out)
    assert (document["direction"], document["gap"]) == ("over-free", -4_224)
    (seen,) = document["observations"]
    assert (seen["available"], seen["evictable"]) == (2_864_304, 325_120)
    for name in ("source", "line", "time", "rank", "pool", "protected", "session_held"):
        assert name in seen


@pytest.mark.parametrize(
    "text",
    [
        STORY,
        INCLUSIVE,
        *(
            [
                SPLIT.format(pool="swa", total=911_616, available=235_264, evictable=676_096),
                SPLIT.format(pool="full", total=42_308, available=42_301, evictable=0),
                SPLIT.format(pool="full", total=131_072, available=131_136, evictable=0),
                SPLIT.format(pool="full", total=2_048, available=0, evictable=1_984),
            ]
            if os.environ.get("KVREPLAY_REPRODUCE_ALL")
            else []
        ),
    ],
)
def test_the_line_to_paste_makes_the_numbers_happen(
    kvreplay: Run,
    log: Callable[..., Path],
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    _, out, _ = kvreplay("diagnose", log(text), "--json")
    document = json.loads(out)
    words = shlex.split(document["reproduce"])
    assert words[:2] == ["kvreplay", "reproduce"]
    monkeypatch.chdir(tmp_path)
    code, out, err = kvreplay(*words[1:], "--json")
    assert code == 0, err
    assert json.loads(out)["mismatch"]["gap"] == document["gap"]


@pytest.mark.parametrize(
    ("gaps", "verdict", "code"),
    [((64, 64, 64), "persistent", 1), ((64, 0), "transient", 0), ((64,), "inconclusive", 3)],
)
def test_exit_codes(
    kvreplay: Run, log: Callable[..., Path], gaps: tuple[int, ...], verdict: str, code: int
) -> None:
    path = log("".join(warning(10 * n, gap) for n, gap in enumerate(gaps)))
    assert kvreplay("diagnose", path)[0] == code
    assert kvreplay("diagnose", path, "--expect", verdict)[0] == 0
    for other in set(REST) - {verdict}:
        assert kvreplay("diagnose", path, "--expect", other)[0] == 1


def test_the_text_says_verdict_reason_next_step_and_line(
    kvreplay: Run, log: Callable[..., Path]
) -> None:
    _, out, _ = kvreplay("diagnose", log(STORY))
    assert out.startswith("[?] INCONCLUSIVE")
    assert "34048 tokens are missing" in out
    assert "next: " in out
    assert "kvreplay reproduce --available 13824256 --total 13858304 --page-size 64" in out


def test_a_log_without_a_known_line_says_so(kvreplay: Run, log: Callable[..., Path]) -> None:
    code, out, _ = kvreplay("diagnose", log("INFO: 10.0.0.1 - GET / 200\n" * 7))
    assert code == 3
    assert "none of 7 lines" in out
    assert "SGLang" in out
    document = json.loads(kvreplay("diagnose", log(""), "--json")[1])
    assert (document["verdict"], document["engine"]) == ("inconclusive", "unknown")


def test_bad_input_is_one_sentence(kvreplay: Run, tmp_path: Path, log: Callable[..., Path]) -> None:
    for words in (
        (tmp_path / "none.log",),
        (tmp_path,),
        (),
        ("--follow", tmp_path / "none.log"),
        ("--prometheus", tmp_path / "none.txt"),
        ("--prometheus", log('{"status": "error"}', "error.json")),
        (log(STORY), "--follow", log(STORY)),
    ):
        code, out, err = kvreplay("diagnose", *words)
        assert (code, out) == (2, "")
        assert "Traceback" not in err
        # Words that do not go together are told of below how the command is used.
        assert len(err.splitlines()) == 1 or err.startswith("Usage: ")


def test_rotated_files_are_one_series(kvreplay: Run, tmp_path: Path) -> None:
    with gzip.open(tmp_path / "decode.log.2.gz", "wt") as file:
        file.write(warning(1, 64))
    (tmp_path / "decode.log.1").write_text(warning(20, 64))
    (tmp_path / "decode.log").write_text(warning(40, 64))
    names = sorted(tmp_path.iterdir())
    document = json.loads(kvreplay("diagnose", *names, "--json")[1])
    assert (document["verdict"], document["growth"]) == ("persistent", "one-off")
    assert len(document["series"]) == 1


def test_logs_of_two_servers_are_two_series(kvreplay: Run, log: Callable[..., Path]) -> None:
    one, two = log(warning(1, 64), "decode0.log"), log(warning(20, 64), "decode1.log")
    document = json.loads(kvreplay("diagnose", one, two, "--json")[1])
    assert document["verdict"] == "inconclusive"
    assert len(document["series"]) == 2


def test_a_silent_log_beside_a_clean_one_is_no_clean_pair(
    kvreplay: Run, log: Callable[..., Path]
) -> None:
    clean, silent = log(warning(1, 0), "decode0.log"), log("starting\n", "decode1.log")
    assert kvreplay("diagnose", clean)[0] == 0
    code, out, _ = kvreplay("diagnose", clean, silent)
    assert code == 3
    assert "decode1.log: no line was recognised" in out


def test_what_a_log_says_cannot_move_the_cursor(kvreplay: Run, log: Callable[..., Path]) -> None:
    line = "[2026-01-12 10:00:00] Decode transfer failed for request rank=0 "
    line += "decode_req.req.rid='a\x1b[2J' decode_req.req.bootstrap_room=5 with exception "
    line += "KVTransferError(bootstrap_room=5): \x1b[31mbad\x07\n"
    _, out, _ = kvreplay("diagnose", log(line))
    assert "\x1b[2J" not in out
    assert "\x07" not in out
