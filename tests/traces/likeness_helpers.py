"""Traces made like others, and their rows."""

from itertools import islice

from traces.dataset import open_trace
from traces.likeness.fitting import fit_trace
from traces.likeness.generation import LikenessOptions, write_trace_like


def like(source, path, requests=None, seed=0, rate_per_s=None):
    model = fit_trace(source)
    options = LikenessOptions(requests or model.request_count, seed, rate_per_s)
    assert write_trace_like(model, options, path) == options.requests
    return path


def rows_of(path, count=None):
    return list(islice(open_trace(path).iter_requests(), count))
