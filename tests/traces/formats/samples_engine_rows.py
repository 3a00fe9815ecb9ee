"""What the made-up logs of SGLang and vLLM share: outcomes of rows, files of them, imports."""

import collections
import gzip
import hashlib
import json

import pyarrow as pa
from trace_helpers import as_plain

from traces.dataset import open_trace
from traces.formats.pipeline import import_logs

#: The first arrival of every sample, seconds.
T0 = 1_790_000_000

#: Stands for a field to leave out.
GONE = object()

REPEATED = "its request id occurred before"


def token_hashes(token_ids, block_size=64, salt=(None, None, None)):
    """What `traces.formats.hashes.hash_tokens` does, one token at a time."""
    key = 0
    if salt != (None, None, None):
        digest = hashlib.blake2b(repr(salt).encode(), digest_size=8).digest()
        key = int.from_bytes(digest, "little")
    total, hashes = 0, []
    for place, token in enumerate(token_ids):
        content = mix((token + (place + 1) * 0x9E3779B97F4A7C15) % 2**64)
        total = (total + (content ^ key if place == 0 else content)) % 2**64
        if (place + 1) % block_size == 0 or place + 1 == len(token_ids):
            hashes.append(mix(total))
    return hashes


def mix(word):
    """The finaliser of splitmix64."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % 2**64
    return word ^ (word >> 31)


def kept(
    identity,
    at_s,
    input_tokens,
    output_tokens,
    session=None,
    cancel_s=None,
    priority=None,
    token_ids=None,
):
    """The request of a row; times in seconds after T0."""
    cancel_us = None if cancel_s is None else round(cancel_s * 1e6)
    return (
        identity,
        round(at_s * 1e6),
        input_tokens,
        output_tokens,
        None if token_ids is None else token_hashes(token_ids),
        session,
        cancel_us,
        priority,
    )


def expected(table):
    """The requests of a table by arrival, and its skipped rows by reason."""
    rows = [outcome for _, outcome in table if isinstance(outcome, tuple)]
    skipped = collections.Counter(outcome for _, outcome in table if isinstance(outcome, str))
    return sorted(rows, key=lambda row: row[1]), skipped


def import_bytes(folder, blobs, name="auto"):
    """Import logs given as bytes; return the report and the rows of the trace."""
    logs = []
    for number, blob in enumerate(blobs):
        logs.append(folder / f"log{number}")
        logs[-1].write_bytes(blob)
    out = folder / "out.parquet"
    report = import_logs(logs, out, name)
    trace = open_trace(out)
    trace.validate()
    return report, list(map(as_plain, trace.iter_requests()))


def present(fields):
    return {name: value for name, value in fields.items() if value is not GONE}


def reasons(counts):
    return {reason: count.rows for reason, count in counts.items()}


def compressed(blob):
    """The same bytes by gzip and by zstd."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(blob)
    return gzip.compress(blob), sink.getvalue().to_pybytes()


def json_lines(rows, line_end="\n"):
    return "".join(json.dumps(row) + line_end for row in rows).encode()


def inputs(table):
    return [row for row, _ in table]
