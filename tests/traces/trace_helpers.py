"""Made-up requests, and the equality that numpy arrays in a dataclass lack."""

import re
from dataclasses import replace

import numpy as np

from traces.schema import COLUMNS, TraceRequest


def make_request(index, **changes):
    """One good request with a block size of 16, changed as told."""
    fields = {
        "request_id": f"r{index}",
        "arrival_us": index * 10,
        "input_tokens": 33,
        "output_tokens": 4,
        "block_hashes": np.array([1, 2, 100 + index], np.uint64),
        "session_id": None if index % 2 else f"s{index}",
        "cancel_us": None if index % 3 else index * 10 + 7,
        "priority": None if index % 4 else index % 100,
    }
    return TraceRequest(**{**fields, **changes})


def as_plain(request):
    """The request as a tuple of Python values, so that == compares it whole.

    Of an id that an importer made up, the digits that stand for the log are left out.
    """
    hashes = request.block_hashes
    request = replace(request, request_id=without_log(request.request_id))
    return tuple(
        (None if hashes is None else hashes.tolist())
        if name == "block_hashes"
        else getattr(request, name)
        for name in COLUMNS
    )


def without_log(request_id):
    """An id without the digits that stand for the log it comes from."""
    return re.sub(r"^([a-z-]+)-[0-9a-f]{8}-(\d{6})$", r"\1-\2", request_id)


def without_rows(rows):
    """Rows whose ids an importer made up have only its name for an id."""
    return [(re.sub(r"-\d{6}$", "", row[0]), *row[1:]) for row in rows]
