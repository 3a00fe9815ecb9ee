"""docs/diagnose.md: every kind and verdict, every key of the document, and the figures of the story."""

from pathlib import Path
from typing import get_args

from replay.diagnosis.diagnosis import SCHEMA
from replay.diagnosis.judging.assessment import DiagnosisKind
from replay.diagnosis.judging.judge import Judge
from replay.diagnosis.reading.log_reader import LineReader

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "diagnose.md").read_text(encoding="utf-8")
#: What only a replay can tell, and no log.
NEVER_FROM_LOGS = {"stuck", "cache-held", "double-owned", "stale-write"}


def kinds() -> set[str]:
    return {
        kind
        for part in get_args(DiagnosisKind)
        for kind in (get_args(part) or (part,))
        if isinstance(kind, str)
    }


def test_every_kind_has_its_row():
    for kind in kinds() - NEVER_FROM_LOGS:
        assert f"\n| `{kind}` | " in PAGE, kind


def test_every_key_of_the_document_is_named():
    assert SCHEMA in PAGE
    for key in Judge().diagnosis().to_dict():
        assert key == "schema" or f"`{key}" in PAGE or key.endswith("_total"), key


def test_the_verdict_that_is_shown_is_the_one_that_is_given():
    reader, judge = LineReader("decode.log"), Judge()
    lines = (
        b"[2025-05-13 10:00:00 DP3 TP3] Scheduler hit an exception: Traceback (most recent call last):\n"
        b"ValueError: token_to_kv_pool_allocator memory leak detected! available_size=13824256, "
        b"protected_size=0, self.max_total_num_tokens=13858304\n"
        b"self.token_to_kv_pool_allocator.available_size()=13824256\n"
        b"self.tree_cache.evictable_size()=0\n"
    )
    judge.add_all(reader.feed(lines))
    judge.add_all(reader.finish())
    found = judge.diagnosis()
    shown = " ".join(PAGE.split())
    assert found.worst.why.split("; a single check")[0] in shown
    assert found.reproduce in shown
