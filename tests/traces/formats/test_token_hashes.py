"""Block hashes of prompts whose tokens a log holds."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from samples_engine_rows import T0, import_bytes, token_hashes

from traces.formats.hashes import hash_tokens
from traces.formats.reader import ImportOptions, ImportTally, LogReader
from traces.formats.source import LogFile

TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=40)


def reader(block_size):
    return LogReader(LogFile(None, 0, None), ImportTally(), ImportOptions({}, block_size))


@given(TOKENS, st.integers(1, 50), st.sampled_from([None, "tenant"]))
def test_it_does_what_the_slow_way_does(tokens, block_size, salt):
    hashes = hash_tokens(reader(block_size), tokens, len(tokens), (None, salt, None))
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == token_hashes(tokens, block_size, (None, salt, None))


@given(TOKENS, TOKENS, st.integers(1, 8))
def test_hashes_are_equal_exactly_as_long_as_the_tokens_are(one, other, block_size):
    ours, theirs = (
        hash_tokens(reader(block_size), tokens, len(tokens), (None,)).tolist()
        for tokens in (one, other)
    )
    for block, (mine, its) in enumerate(zip(ours, theirs, strict=False)):
        end = (block + 1) * block_size
        assert (mine == its) == (one[:end] == other[:end])


def test_what_is_no_list_of_tokens_has_no_hashes():
    for tokens in (None, "12", [1, 2], [1, 2, "3"], [1, 2, None], [1, 2, 2**40], [[1], [2], [3]]):
        assert hash_tokens(reader(4), tokens, 3, (None,)) is None


def test_a_log_of_tokens_shares_prefixes_within_its_cache_key(tmp_path):
    rows = []
    for place, salt in enumerate([None, None, "a", "a"]):
        parameters = {"input_ids": [*range(70), place], "cache_salt": salt}
        row = {
            "request_parameters": json.dumps(parameters),
            "id": f"r{place}",
            "finish_reason": {"type": "stop"},
            "prompt_tokens": 71,
            "completion_tokens": 1,
            "request_received_ts": T0 + place,
        }
        rows.append(json.dumps(row) + "\n")
    _, requests = import_bytes(tmp_path, ["".join(rows).encode()])
    firsts = [request[4][0] for request in requests]
    assert firsts[0] == firsts[1] != firsts[2] == firsts[3]
    assert len({request[4][1] for request in requests}) == 4
