"""Made-up requests, and the equality that numpy arrays in a dataclass lack."""

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
    """The request as a tuple of Python values, so that == compares it whole."""
    hashes = request.block_hashes
    return tuple(
        (None if hashes is None else hashes.tolist())
        if name == "block_hashes"
        else getattr(request, name)
        for name in COLUMNS
    )
