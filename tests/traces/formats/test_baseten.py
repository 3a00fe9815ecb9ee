"""Baseten Parquet: made-up tables, complete, reduced, of odd types, and damaged."""

import io
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sample_checks import (
    chained,
    check_compressed,
    check_only_match,
    check_table,
    check_without_rows,
    import_bytes,
    outcomes,
    parquet,
)
from samples_datasets import BASETEN, BASETEN_SCHEMA, baseten
from trace_helpers import without_rows

from traces.errors import TraceError

_ROWS = [row for row, _ in BASETEN]


def test_every_row_becomes_what_it_was(tmp_path):
    report = check_table(tmp_path, "baseten", BASETEN, baseten())
    kept = ": kept without block hashes"
    assert {reason: (count.rows, count.first_at) for reason, count in report.changed.items()} == {
        f"block_size is missing{kept}": (1, "row 6"),
        f"block_size is 0{kept}": (1, "row 7"),
        f"total_hashes are not one per 128 tokens of the prompt{kept}": (1, "row 8"),
        f"total_hashes have another block size than the first{kept}": (1, "row 9"),
        f"total_hashes is not a list of whole numbers{kept}": (1, "row 11"),
    }
    assert report.shifted_us == 1_790_000_000_000_000


def test_compressed_inside_and_outside(tmp_path):
    check_only_match(tmp_path, "baseten", baseten())
    check_compressed(tmp_path, "baseten", BASETEN, baseten())
    for codec in ("none", "zstd", "gzip"):
        blob = baseten(compression=codec, row_group_size=4)
        check_table(tmp_path, "baseten", BASETEN, blob)


def test_two_files_are_one_trace(tmp_path):
    blobs = [parquet(rows, BASETEN_SCHEMA) for rows in (_ROWS[:5], _ROWS[5:])]
    report, rows = import_bytes(tmp_path, blobs)
    assert (report.files, without_rows(rows)) == (2, without_rows(outcomes("baseten", BASETEN)[0]))


def test_the_prompts_are_never_read(tmp_path):
    blob = bytearray(baseten(compression="none", use_dictionary=False))
    column = pq.ParquetFile(io.BytesIO(blob)).metadata.row_group(0).column(1)
    assert column.path_in_schema == "prompt"
    start = column.data_page_offset
    blob[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    check_table(tmp_path, "baseten", BASETEN, bytes(blob))


def test_the_required_columns_are_enough(tmp_path):
    names = ("timestamp_start_unix_ms", "input_tokens", "output_tokens")
    schema = pa.schema([BASETEN_SCHEMA.field(name) for name in names])
    blob = parquet([{name: row[name] for name in names} for row in _ROWS[:3]], schema)
    check_only_match(tmp_path, "baseten", blob)
    report, rows = import_bytes(tmp_path, [blob])
    assert [row[1:] for row in rows] == [
        (0, 300, 40, None, None, None, None),
        (0, 256, 200, None, None, None, None),
        (1_500_000, 300, 400, None, None, None, None),
    ]
    assert report.changed == {}


_HASHES = chained(7)
#: What three rows become: arrival, hashes, session and cancel.
_SAME = [
    (0, _HASHES, "s", 2000),
    (1000, _HASHES, "s", 3000),
    (2000, _HASHES, "s", 4000),
]


def _changed(place, *values):
    """The three rows with other values in one place."""
    return [
        (*row[:place], value, *row[place + 1 :]) for row, value in zip(_SAME, values, strict=True)
    ]


_STRUCT = pa.struct([("a", pa.int64())])


@pytest.mark.parametrize(
    ("column", "kind", "values", "wanted"),
    [
        ("timestamp_start_unix_ms", pa.float64(), [0.0, float("nan"), None], _SAME[:1]),
        ("timestamp_start_unix_ms", pa.string(), ["0", "x", ""], _SAME[:1]),
        ("timestamp_start_unix_ms", pa.timestamp("ms"), [3, 4, 5], []),
        ("timestamp_start_unix_ms", pa.list_(pa.int64()), [[1], [], None], []),
        ("input_tokens", pa.decimal128(9, 2), [Decimal(128), Decimal("0.5"), None], _SAME[:1]),
        (
            "total_hashes",
            pa.list_(pa.string()),
            [["a"], ["b"], None],
            _changed(1, None, None, None),
        ),
        ("total_hashes", pa.string(), ["a", "b", None], _changed(1, None, None, None)),
        ("total_hashes", pa.int64(), [1, 0, None], _changed(1, None, None, None)),
        (
            "total_hashes",
            pa.list_(_STRUCT),
            [[{"a": 1}], [None], []],
            _changed(1, None, None, None),
        ),
        ("block_size", pa.float64(), [128.0, float("inf"), None], _changed(1, _HASHES, None, None)),
        ("provided_session_id", pa.int64(), [1, -2, None], _changed(2, "1", "-2", None)),
        ("provided_session_id", _STRUCT, [{"a": 1}, {}, None], _changed(2, None, None, None)),
        ("provided_session_id", pa.binary(), [b"\xff", b"s", None], _changed(2, None, "s", None)),
        ("request_canceled", pa.list_(pa.int64()), [[1], [2], None], _changed(3, None, None, None)),
        ("request_canceled", pa.bool_(), [True, False, None], _changed(3, 2000, None, None)),
        ("duration_e2e_ms", pa.string(), ["2", "x", None], [_SAME[0], (*_SAME[2][:3], None)]),
    ],
)
def test_columns_of_other_types(tmp_path, column, kind, values, wanted):
    row = {"input_tokens": 128, "output_tokens": 5, "total_hashes": [7], "block_size": 128}
    row |= {"provided_session_id": "s", "request_canceled": 1, "duration_e2e_ms": 2}
    rows = [
        {"timestamp_start_unix_ms": time, **row, column: value} for time, value in enumerate(values)
    ]
    index = BASETEN_SCHEMA.get_field_index(column)
    blob = parquet(rows, BASETEN_SCHEMA.set(index, pa.field(column, kind)))
    if not wanted:
        with pytest.raises(TraceError, match="no row that can be imported as baseten"):
            import_bytes(tmp_path, [blob])
        return
    report, imported = import_bytes(tmp_path, [blob])
    assert report.rows_read == 3
    assert [(row[1], *row[4:7]) for row in imported] == wanted


def test_files_without_rows(tmp_path):
    check_without_rows(tmp_path, "baseten", [parquet([], BASETEN_SCHEMA)])
    check_only_match(tmp_path, "baseten", parquet([], BASETEN_SCHEMA))
    with pytest.raises(TraceError, match="log0: cannot be read as Parquet"):
        import_bytes(tmp_path, [b""], "baseten")


@pytest.mark.parametrize("name", ["auto", "baseten"])
def test_a_file_cut_short_is_refused_and_nothing_is_left(tmp_path, name):
    blob = baseten()
    for length in (4, 5, len(blob) // 2, len(blob) - 1):
        with pytest.raises(TraceError, match=r"truncated or damaged, copy it again"):
            import_bytes(tmp_path, [blob[:length]], name)
    assert [path.name for path in tmp_path.iterdir()] == ["log0"]
