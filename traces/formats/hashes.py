"""Convert the block hashes of a log's row to those of a trace: one hash per block of the prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from traces.formats.reader import LogReader, RowSkipped
from traces.formats.values import read_tokens
from traces.hashing import GOLDEN, child_key, mix_words
from traces.schema import block_count

#: Default block size, in tokens, for logs that contain the tokens of the prompts.
DEFAULT_BLOCK_SIZE = 64

_WORD = 2**64 - 1
_CACHE_KEY_CHARACTERS_MAX = 1024


def read_block_hashes(
    reader: LogReader, name: str, values: Any, input_tokens: int, block_size: int
) -> npt.NDArray[np.uint64] | None:
    """Return a row's block hashes, or None, counted as a change, if they cannot be used.

    A hash must identify its block together with everything before it. Engine logs hash full blocks
    only. If only the partial last block has no hash, it gets a unique one, because an engine cannot
    share that block either.

    Args:
        reader: the reader, at this row.
        name: name of the hashes in messages.
        values: list of integers from -2**63 to 2**64 - 1 (taken modulo 2**64), or None.
        input_tokens: prompt length.
        block_size: tokens a hash covers, at least 1.
    """
    problem = None
    if values is None:
        problem = f"{name} is missing"
    elif not isinstance(values, list) or not set(map(type, values)) <= {int}:
        problem = f"{name} is not a list of whole numbers"
    elif len(values) not in (block_count(input_tokens, block_size), input_tokens // block_size):
        problem = f"{name} are not one per {block_size} tokens of the prompt"
    elif values and not (min(values) >= -(2**63) and max(values) <= _WORD):
        problem = f"{name} are not 64-bit numbers"
    # Last, so that invalid hashes do not determine the block size of the trace.
    elif not reader.use_block_size(block_size):
        problem = f"{name} have another block size than the first"
    if problem is not None:
        reader.note(f"{problem}: kept without block hashes")
        return None
    if values and min(values) < 0:
        values = [value & _WORD for value in values]
    if len(values) < block_count(input_tokens, block_size):
        last = values[-1] if values else 0
        values = [*values, child_key(last, reader.row_key)]
    return np.array(values, np.uint64)


def read_block_size(reader: LogReader, fields: Mapping[str, Any], name: str) -> int | None:
    """Return how many tokens a row's hashes cover, or None, counted as a change."""
    try:
        return read_tokens(fields, name)
    except RowSkipped as reason:
        reader.note(f"{reason}: kept without block hashes")
        return None


def chain_hashes(hashes: npt.NDArray[np.uint64] | None) -> npt.NDArray[np.uint64] | None:
    """Chain hashes, so that two are equal exactly if all hashes up to them are equal.

    This is for logs whose hashes identify a block without its prefix. Hashes that identify the
    whole prefix are replaced too, but remain shared by the same requests, so chaining is harmless
    if the kind of hashes in a log is unknown.

    Args:
        hashes: shape (blocks,), one per block of a prompt from its first block on, or None.
    """
    if hashes is None:
        return None
    numbers = np.arange(1, hashes.size + 1, dtype=np.uint64) * GOLDEN
    contents = mix_words(mix_words(hashes) + numbers)
    return mix_words(np.cumsum(contents, dtype=np.uint64))


def hash_tokens(
    reader: LogReader, token_ids: object, input_tokens: int, salt: tuple[object, ...]
) -> npt.NDArray[np.uint64] | None:
    """Return the block hashes of a prompt whose tokens are in the log, or None if they are not.

    A hash identifies its block together with everything before it and the salt. The block size is
    that of the options, or `DEFAULT_BLOCK_SIZE`.

    Args:
        reader: the reader, at this row.
        token_ids: the prompt's token ids, a list or tuple of `input_tokens` integers; other values
            count as no tokens.
        input_tokens: prompt length.
        salt: other values that separate prompts in the engine's cache: text, numbers, or None. With
            values of other types there are no hashes.
    """
    if not all(part is None or _is_cache_key(part) for part in salt):
        return None
    if not isinstance(token_ids, list | tuple) or len(token_ids) != input_tokens:
        return None
    if (
        set(map(type, token_ids)) != {int}
        or not -(2**31) <= min(token_ids) <= max(token_ids) < 2**31
    ):
        return None
    block_size = reader.options.block_size or DEFAULT_BLOCK_SIZE
    reader.use_block_size(block_size)
    numbers = np.arange(1, input_tokens + 1, dtype=np.uint64) * GOLDEN
    contents = mix_words(np.array(token_ids, np.int64).astype(np.uint64) + numbers)
    if any(part is not None for part in salt):
        digest = hashlib.blake2b(repr(salt).encode("utf-8", "replace"), digest_size=8).digest()
        contents[0] ^= np.uint64(int.from_bytes(digest, "little"))
    ends = np.minimum(np.arange(block_size, input_tokens + block_size, block_size), input_tokens)
    return mix_words(np.cumsum(contents, dtype=np.uint64)[ends - 1])


def _is_cache_key(part: object) -> bool:
    # Values from a pickle can have any shape and size, and can be shared by any number of rows.
    return type(part) is int or (isinstance(part, str) and len(part) <= _CACHE_KEY_CHARACTERS_MAX)
