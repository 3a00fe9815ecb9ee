"""Mooncake logs: made-up ones, good and ugly, and the published one."""

import json

import numpy as np
import pytest
from trace_helpers import as_plain, without_log

from traces.dataset import open_trace
from traces.errors import TraceError
from traces.formats.pipeline import import_logs


def _row(timestamp=0, input_length=600, output_length=5, hash_ids=(1, 2), **more):
    return {
        "timestamp": timestamp,
        "input_length": input_length,
        "output_length": output_length,
        "hash_ids": list(hash_ids),
        **more,
    }


@pytest.fixture
def import_rows(tmp_path):
    def run(rows):
        log = tmp_path / "log.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        log.write_text("\n".join(lines) + "\n", encoding="utf-8")
        out = tmp_path / "out.parquet"
        report = import_logs([log], out)
        return report, list(open_trace(out).iter_requests())

    return run


def test_rows_become_requests_and_ties_keep_their_order(import_rows):
    report, requests = import_rows(
        [_row(0, 513, 7, [0, 5]), _row(3, 512, 1, [0]), _row(3, 1024, 2, [0, 2**64 - 1])]
    )
    assert list(map(as_plain, requests)) == [
        ("mooncake-000000", 0, 513, 7, [0, 5], None, None, None),
        ("mooncake-000001", 3000, 512, 1, [0], None, None, None),
        ("mooncake-000002", 3000, 1024, 2, [0, 2**64 - 1], None, None, None),
    ]
    assert requests[0].block_hashes.dtype == np.uint64
    assert report.to_json() == {
        "format": "mooncake",
        "files": 1,
        "rows_read": 3,
        "rows_written": 3,
        "rows_reordered": 0,
        "shifted_us": 0,
        "skipped": {},
        "changed": {},
    }


def test_rows_out_of_order_are_sorted_stably(import_rows):
    report, requests = import_rows([_row(9), _row(2), _row(9), _row(2)])
    assert [r.request_id[-1] for r in requests] == ["1", "3", "0", "2"]
    assert report.rows_reordered == 2


def test_every_bad_row_is_counted_by_reason(import_rows):
    bad = {
        "output_length is 0": [_row(output_length=0), _row(output_length="0")],
        "output_length is negative": [_row(output_length=-1)],
        "output_length is out of range": [_row(output_length=2**31)],
        "input_length is missing": [{"timestamp": 1, "output_length": 2, "hash_ids": []}],
        "input_length is not a whole number": [
            _row(input_length="six"),
            _row(input_length=6.5),
            _row(input_length=True),
            _row(input_length=[600]),
        ],
        "timestamp is missing": [_row(timestamp=None)],
        "timestamp is not a number": [_row(timestamp="noon"), _row(timestamp=True)],
        "timestamp is negative or out of range": [_row(timestamp=-1), _row(timestamp=1e60)],
    }
    rows = [_row(5, extra="ignored")] + [row for group in bad.values() for row in group]
    rows += ["", '{"timestamp": NaN, "input_length": 1, "output_length": 1}']
    report, requests = import_rows(rows)
    bad["timestamp is not a number"].append("NaN")
    assert {reason: count.rows for reason, count in report.skipped.items()} == {
        reason: len(group) for reason, group in bad.items()
    }
    assert report.rows_read == report.rows_written + sum(map(len, bad.values()))
    assert report.skipped["output_length is 0"].first_at == "line 2"
    assert report.skipped["output_length is negative"].first_at == "line 4"
    assert [without_log(r.request_id) for r in requests] == ["mooncake-000000"]


def test_hashes_that_cannot_be_used_are_counted_and_the_request_stays(import_rows):
    bad = {
        "hash_ids is missing": [{"timestamp": 0.5, "input_length": 9, "output_length": 1}],
        "hash_ids is not a list of whole numbers": [
            _row(hash_ids=[1, 2.0]),
            _row(hash_ids=[1, None]),
            {**_row(), "hash_ids": "12"},
        ],
        "hash_ids are not one per 512 tokens of the prompt": [_row(hash_ids=[])],
        "hash_ids are not 64-bit numbers": [_row(hash_ids=[1, 2**64])],
    }
    report, requests = import_rows([row for group in bad.values() for row in group])
    assert {reason: count.rows for reason, count in report.changed.items()} == {
        f"{reason}: kept without block hashes": len(group) for reason, group in bad.items()
    }
    assert report.skipped == {}
    assert [r.block_hashes for r in requests] == [None] * 6
    assert as_plain(requests[-1])[:5] == ("mooncake-000000", 500, 9, 1, None)


def test_a_partial_block_without_a_hash_gets_one_of_its_own(import_rows):
    _, requests = import_rows([_row(hash_ids=[7]), _row(hash_ids=[7]), _row(hash_ids=[-1, 3])])
    tails = [int(r.block_hashes[1]) for r in requests[:2]]
    assert [r.block_hashes.tolist() for r in requests[:2]] == [[7, tails[0]], [7, tails[1]]]
    assert len({7, *tails}) == 3
    assert requests[2].block_hashes.tolist() == [2**64 - 1, 3]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"timestamp": 0,', "line 2 is not JSON ("),
        ("[1, 2]", "line 2 is not a JSON object"),
        ("[" * 100_000, "line 2 is not JSON that can be read"),
        ('{"timestamp": ' + "9" * 5000 + "}", "line 2 is not JSON that can be read"),
    ],
)
def test_a_malformed_line_is_named_and_nothing_is_written(import_rows, tmp_path, line, message):
    with pytest.raises(TraceError) as caught:
        import_rows([_row(), line])
    assert f"{tmp_path / 'log.jsonl'}: {message}" in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["log.jsonl"]


def test_the_published_conversation_log(mooncake_log, tmp_path):
    seen_bytes = []
    out = tmp_path / "conv.parquet"
    report = import_logs([mooncake_log], out, on_progress=seen_bytes.append)
    assert (report.rows_read, report.rows_written, report.skipped) == (12031, 12031, {})
    assert seen_bytes == sorted(seen_bytes)
    assert seen_bytes[-1] == mooncake_log.stat().st_size
    requests = list(open_trace(out).iter_requests())
    assert len(requests) == 12031
    assert sum(r.input_tokens for r in requests) == 144_793_823
    assert sum(r.output_tokens for r in requests) == 4_122_048
    assert len({r.arrival_us for r in requests}) == 1180
    with mooncake_log.open() as lines:
        for request, line in zip(requests, lines, strict=True):
            row = json.loads(line)
            assert request.arrival_us == row["timestamp"] * 1000
            assert request.input_tokens == row["input_length"]
            assert request.block_hashes.tolist() == row["hash_ids"]
    first = tmp_path / "again.parquet"
    import_logs([mooncake_log], first)
    assert first.read_bytes() == out.read_bytes()
