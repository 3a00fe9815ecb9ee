"""Bailian logs: made-up ones, their sessions and their block hashes."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_checks import (
    check_compressed,
    check_only_match,
    check_table,
    check_text,
    import_bytes,
    json_lines,
    outcomes,
)
from samples_datasets import BAILIAN, bailian
from trace_helpers import without_rows

from traces.errors import TraceError
from traces.formats import bailian as importer
from traces.formats.hashes import chain_hashes


def _rows(*links):
    """A row for each (chat, parent), a second apart."""
    return json_lines(
        {
            "chat_id": chat,
            "parent_chat_id": parent,
            "timestamp": second,
            "input_length": 16,
            "output_length": 1,
            "hash_ids": [second],
        }
        for second, (chat, parent) in enumerate(links)
    )


def _sessions(folder, *links):
    report, rows = import_bytes(folder, [_rows(*links)])
    return [row[5] for row in rows], {key: count.rows for key, count in report.changed.items()}


_UNKNOWN = "parent_chat_id is not a recent request: its session starts at that parent"


def test_every_row_becomes_what_it_was(tmp_path):
    report = check_table(tmp_path, "bailian", BAILIAN, bailian())
    assert {reason: (count.rows, count.first_at) for reason, count in report.changed.items()} == {
        _UNKNOWN: (4, "line 7"),
        "hash_ids is missing: kept without block hashes": (1, "line 18"),
        "hash_ids are not one per 16 tokens of the prompt: kept without block hashes": (
            1,
            "line 22",
        ),
        "hash_ids is not a list of whole numbers: kept without block hashes": (2, "line 23"),
    }
    assert report.shifted_us == 0


def test_line_ends_cut_lines_and_files_without_rows(tmp_path):
    check_text(tmp_path, "bailian", BAILIAN, bailian(), bailian("\r\n"), 2)


def test_compressed(tmp_path):
    check_compressed(tmp_path, "bailian", BAILIAN, bailian())


def test_two_files_are_one_trace(tmp_path):
    lines = bailian().splitlines(keepends=True)
    report, rows = import_bytes(tmp_path, [b"".join(lines[:2]), b"".join(lines[2:])])
    assert report.files == 2
    wanted, _ = outcomes("bailian", BAILIAN)
    # What the first file says about parents is not known in the second.
    changed = {"60": "57", "bailian-000015": "57"}
    wanted = [(*row[:5], changed.get(row[0], row[5]), *row[6:]) for row in wanted]
    assert without_rows(rows) == without_rows(wanted)


def test_it_is_not_mooncake(tmp_path):
    chat = {"chat_id": 1, "timestamp": 0, "input_length": 5, "output_length": 5, "hash_ids": [1]}
    bare = {name: value for name, value in chat.items() if name != "chat_id"}
    check_only_match(tmp_path, "bailian", json_lines([chat, bare]))
    check_only_match(tmp_path, "bailian", json_lines([bare, chat]))
    check_only_match(tmp_path, "mooncake", json_lines([bare, bare]))


def test_the_session_is_the_first_turn_of_the_chain(tmp_path):
    links = [(1, -1), (2, 1), (9, -1), (3, 2), (4, 3), (5, 2)]
    assert _sessions(tmp_path, *links) == (["1", "1", "9", "1", "1", "1"], {})


def test_the_first_of_two_rows_of_one_chat_decides_its_session(tmp_path):
    links = [(1, -1), (1, 7), (2, 1)]
    assert _sessions(tmp_path, *links) == (["1", "1"], {_UNKNOWN: 1})


def test_old_chats_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(importer, "CHATS_KEPT", 3)
    links = [(1, -1), (2, -1), (3, -1), (4, 1), (5, 1), (6, 4), (7, 4), (8, 7), (9, 8)]
    sessions, changed = _sessions(tmp_path, *links)
    # 4 pushes 1 out, so 5 finds its parent no more; the chain 4, 6, 7, 8, 9 stays known.
    assert sessions == ["1", "2", "3", "1", "1", "1", "1", "1", "1"]
    assert changed == {_UNKNOWN: 1}


def test_memory_for_sessions_is_bounded(monkeypatch):
    monkeypatch.setattr(importer, "CHATS_KEPT", 100)
    sessions = importer._Sessions()
    for chat in range(1000):
        assert sessions.find(str(chat), str(chat - 1) if chat else "-1") == ("0", True)
    assert len(sessions._sessions) == 100


def test_requests_share_the_prefix_that_their_blocks_share(tmp_path):
    prompts = [[1, 2, 3], [1, 2, 4], [2, 1, 3], [1], [5, 2, 3]]
    rows = [
        {
            "chat_id": chat,
            "parent_chat_id": -1,
            "timestamp": chat,
            "input_length": 16 * len(ids),
            "output_length": 1,
            "hash_ids": ids,
        }
        for chat, ids in enumerate(prompts)
    ]
    _, imported = import_bytes(tmp_path, [json_lines(rows)])
    hashes = [row[4] for row in imported]
    names = {}
    for ids, chain in zip(prompts, hashes, strict=True):
        for length, name in enumerate(chain, 1):
            assert names.setdefault(name, tuple(ids[:length])) == tuple(ids[:length])
    assert len(names) == len({tuple(ids[: n + 1]) for ids in prompts for n in range(len(ids))})


_IDS = st.lists(st.sampled_from([0, 1, 2, 2**64 - 1]), max_size=6)


@given(_IDS, _IDS)
def test_chained_hashes_are_equal_where_all_before_is_equal(one, other):
    chains = [chain_hashes(np.array(ids, np.uint64)).tolist() for ids in (one, other)]
    for end in range(1, min(len(one), len(other)) + 1):
        assert (chains[0][end - 1] == chains[1][end - 1]) == (one[:end] == other[:end])
    assert len(set(chains[0])) == len(one)


def test_a_row_cut_in_the_middle_of_the_file_stops_the_import(tmp_path):
    blob = bailian() + b'{"chat_id": 1,\n' + json.dumps(BAILIAN[0][0]).encode()
    report, _ = import_bytes(tmp_path, [bailian() + b'{"chat_id": 1,'])
    assert report.skipped["the last line is truncated"].first_at == f"line {len(BAILIAN) + 1}"
    (tmp_path / "out.parquet").unlink()
    with pytest.raises(TraceError, match=f"log0: line {len(BAILIAN) + 1} is not JSON"):
        import_bytes(tmp_path, [blob])
    assert not (tmp_path / "out.parquet").exists()
