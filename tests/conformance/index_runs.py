"""Index arrays as runs: exact, short enough for a free list of a million pages, and readable.

Used on both sides of the pipe, so it knows nothing but NumPy.
"""

import numpy as np


def to_runs(values) -> list[list[int]]:
    """[3, 4, 5, 9] as [[3, 3], [9, 1]]: where each ascending run starts, and how long it is."""
    values = np.asarray(values, dtype=np.int64)
    if not len(values):
        return []
    starts = np.concatenate(([0], np.flatnonzero(np.diff(values) != 1) + 1))
    lengths = np.diff(np.append(starts, len(values)))
    return np.stack((values[starts], lengths), axis=1).tolist()


def from_runs(runs: list[list[int]]):
    """The array again, int64."""
    parts = [np.arange(start, start + length, dtype=np.int64) for start, length in runs]
    return np.concatenate([np.empty(0, np.int64), *parts])
