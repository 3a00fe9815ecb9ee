"""How an importer is held against a table of rows, each with its outcome.

An outcome is the request that a row becomes (`kept`) or the reason for which it is skipped.
"""

import collections
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trace_helpers import as_plain

from traces.dataset import open_trace
from traces.errors import TraceError
from traces.formats.base import take_sample
from traces.formats.hashes import chain_hashes
from traces.formats.pipeline import import_logs
from traces.formats.registry import FORMATS, load_format
from traces.formats.source import find_log_file


def kept(identity, arrival_us, input_tokens, output_tokens, hashes=None, session=None, cancel=None):
    """The request of a row; identity None: named by the row's number."""
    return (identity, arrival_us, input_tokens, output_tokens, hashes, session, cancel, None)


def chained(*ids):
    return chain_hashes(np.array(ids, np.uint64)).tolist()


def import_bytes(folder, blobs, name="auto"):
    """Import logs given as bytes; return the report and the rows of the trace."""
    logs = []
    for number, blob in enumerate(blobs):
        log = folder / f"log{number}"
        log.write_bytes(blob)
        logs.append(log)
    out = folder / "out.parquet"
    report = import_logs(logs, out, name)
    trace = open_trace(out)
    trace.validate()
    return report, list(map(as_plain, trace.iter_requests()))


def outcomes(name, table):
    """The rows that a table's file becomes, sorted by arrival, and its skipped rows by reason."""
    rows = [
        (outcome[0] or f"{name}-{number:06d}", *outcome[1:])
        for number, (_, outcome) in enumerate(table)
        if isinstance(outcome, tuple)
    ]
    skipped = collections.Counter(outcome for _, outcome in table if isinstance(outcome, str))
    return sorted(rows, key=lambda row: row[1]), skipped


def check_table(folder, name, table, blob):
    """Import a table's file, told from its content, and compare every row and count."""
    report, rows = import_bytes(folder, [blob])
    wanted, skipped = outcomes(name, table)
    assert report.format == name
    assert rows == wanted
    assert {reason: count.rows for reason, count in report.skipped.items()} == skipped
    assert report.rows_read == len(table) >= 20
    assert report.rows_written == len(wanted)
    return report


def check_only_match(folder, name, blob):
    """The file is told to be of one format, and of no other."""
    log = folder / "sample"
    log.write_bytes(blob)
    sample = take_sample(find_log_file(log))
    assert [other for other in FORMATS if load_format(other).matches(sample)] == [name]


def check_compressed(folder, name, table, blob):
    """gzip and zstd are the same file, whatever they are called."""
    for codec in ("gzip", "zstd"):
        check_table(folder, name, table, compress(blob, codec))
    check_table(folder, name, table, compress(blob[:5000], "gzip") + compress(blob[5000:], "gzip"))
    with pytest.raises(TraceError, match="it is truncated or damaged"):
        import_bytes(folder, [compress(blob, "zstd")[:-20]], name)


def check_text(folder, name, table, blob, crlf_blob, cut_bytes):
    """Line ends, a byte order mark, a last line that is cut, and files without rows."""
    check_only_match(folder, name, blob)
    check_table(folder, name, table, crlf_blob)
    check_table(folder, name, table, b"\xef\xbb\xbf" + blob.removesuffix(b"\n"))
    report, rows = import_bytes(folder, [blob[:-cut_bytes]])
    wanted, skipped = outcomes(name, table[:-1])
    assert rows == wanted
    assert {reason: count.rows for reason, count in report.skipped.items()} == {
        **skipped,
        "the last line is truncated": 1,
    }
    check_without_rows(folder, name, [b"", b"\n\r\n", compress(b"", "gzip")])


def check_without_rows(folder, name, blobs):
    """Files without a row are refused in one sentence, and nothing is left behind."""
    (folder / "out.parquet").unlink(missing_ok=True)
    for blob in blobs:
        with pytest.raises(TraceError, match=rf"no row .* as {name} \(there are no rows\)"):
            import_bytes(folder, [blob], name)
    assert not [path.name for path in folder.iterdir() if "out" in path.name]


def compress(blob, codec):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(blob)
    return sink.getvalue().to_pybytes()


def json_lines(rows, end="\n"):
    return "".join(json.dumps(row, ensure_ascii=False) + end for row in rows).encode()


def parquet(rows, schema, **options):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), sink, **options)
    return sink.getvalue()
