"""Anonymize a trace: pseudonyms for identities, re-keyed block hashes, coarser times.

Everything that a replay needs stays: lengths, order, the requests of each session and tenant,
shared prefixes. So this does NOT hide the lengths of prompts and answers, the times of arrivals and
cancellations (unless quantized, and then only within a quantum), priorities, the number of segments
of an id, the number of requests of a session or tenant, nor which requests share a prefix. Somebody
who knows such facts about a request can recognize it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from traces.dataset import open_trace
from traces.errors import TraceError
from traces.pseudonyms.keyed_names import Pseudonyms
from traces.pseudonyms.siphash import KEY_BYTES, siphash_words
from traces.writer import TraceWriter, hold_trace

#: Shortest secret, bytes.
SECRET_BYTES_MIN = 16

#: Coarsest quantum of time, microseconds: a day.
QUANTUM_US_MAX = 24 * 3600 * 1_000_000

#: The source note of every anonymised trace; the note of the original may hold names.
SOURCE = "anonymised by kvreplay"

# Another version means other pseudonyms for the same secret.
_SALT = b"kvreplay.anonymize/1"
_IDENTITY_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class AnonymizeKeys:
    """Independent keys, one per purpose; they never appear in a `repr`.

    Attributes:
        identities: 32 bytes, for `traces.pseudonyms.keyed_names`.
        blocks: 16 bytes, for `traces.pseudonyms.siphash`.
    """

    identities: bytes = field(repr=False)
    blocks: bytes = field(repr=False)


def derive_keys(secret: bytes, origin: str = "the secret") -> AnonymizeKeys:
    """Derive the keys from a secret, deterministically (scrypt, which briefly uses 32 MiB).

    Args:
        secret: at least `SECRET_BYTES_MIN` bytes.
        origin: name of the secret in error messages.

    Raises:
        TraceError: the secret is too short.
    """
    if len(secret) < SECRET_BYTES_MIN:
        raise TraceError(
            f"{origin}: has {len(secret)} bytes, but a secret needs at least "
            f"{SECRET_BYTES_MIN}; create one with `openssl rand -hex 32`"
        )
    keys = hashlib.scrypt(
        secret,
        salt=_SALT,
        n=2**15,
        r=8,
        p=1,
        maxmem=2**26,
        dklen=_IDENTITY_KEY_BYTES + KEY_BYTES,
    )
    return AnonymizeKeys(keys[:_IDENTITY_KEY_BYTES], keys[_IDENTITY_KEY_BYTES:])


def anonymize_trace(
    source: Path,
    output: Path,
    keys: AnonymizeKeys,
    *,
    quantum_us: int = 1,
    on_progress: Callable[[int], None] | None = None,
    force: bool = True,
) -> int:
    """Write an anonymized copy of `source` to `output`; return its number of requests.

    The same trace, keys and quantum give the same bytes (with the same libraries). Only the columns
    of the schema, the block size and the request count are copied.

    Args:
        source: trace to read, as a stream.
        output: Parquet file to create or replace, atomically.
        keys: from `derive_keys`.
        quantum_us: arrivals and cancellations are floored to multiples of this, in microseconds.
        on_progress: called from time to time with the number of requests written.
        force: replace a trace that was made from something else, too.

    Raises:
        TraceError: the trace is invalid, or the quantum is not from 1 to `QUANTUM_US_MAX`.
        OutputError: `output` is the input file, was not made by kvreplay or cannot be written.
    """
    if not 1 <= quantum_us <= QUANTUM_US_MAX:
        raise TraceError(
            f"{output}: times cannot be quantised to {quantum_us} us; "
            f"choose from 1 to {QUANTUM_US_MAX} us"
        )
    trace = open_trace(source)
    pseudonyms = Pseudonyms(keys.identities)
    with (
        hold_trace(output, SOURCE, reads=[source], force=force) as place,
        TraceWriter(place, source=SOURCE, block_size=trace.block_size, force=force) as writer,
    ):
        for batch in trace.iter_batches():
            columns = {name: batch.column(name) for name in batch.schema.names}
            columns.update(_named(batch, pseudonyms))
            columns["block_hashes"] = _rekeyed(batch.column("block_hashes"), keys.blocks)
            for name in ("arrival_us", "cancel_us"):
                columns[name] = _floored(columns[name], quantum_us)
            writer.write_columns(columns)
            if on_progress is not None:
                on_progress(writer.row_count)
    return writer.row_count


def _named(batch: Any, pseudonyms: Pseudonyms) -> dict[str, Any]:
    # Bytes, because digests are computed from bytes.
    requests, sessions = (
        batch.column(name).cast(pa.binary()).to_pylist() for name in ("request_id", "session_id")
    )
    return {
        "request_id": pa.array(map(pseudonyms.of_request, requests, sessions), pa.string()),
        "session_id": pa.array(
            (None if session is None else pseudonyms.of_session(session) for session in sessions),
            pa.string(),
        ),
    }


def _rekeyed(hashes: Any, key: bytes) -> Any:
    """Replace every hash of a list<uint64> column; equal hashes stay equal.

    The probability that any two of n different hashes become equal is n**2 / 2**65 (3e-4 for
    10**8), as for any 64-bit hash, including the originals.
    """
    if hashes.null_count == len(hashes):
        return hashes
    is_null = hashes.is_null().to_numpy(zero_copy_only=False)
    # `flatten` omits values hidden under a null.
    lengths = np.where(is_null, 0, np.diff(hashes.offsets.to_numpy()))
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    values = pa.array(siphash_words(hashes.flatten().to_numpy(), key))
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(is_null))


def _floored(times: Any, quantum_us: int) -> Any:
    """Floor the times of an int64 column; nulls stay null. Flooring preserves the order."""
    if quantum_us == 1 or times.null_count == len(times):
        return times
    is_null = times.is_null().to_numpy(zero_copy_only=False)
    values = times.fill_null(0).to_numpy()
    return pa.array(values - values % quantum_us, mask=is_null)
