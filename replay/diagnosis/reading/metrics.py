"""Reads scraped metrics as loads: one for each rank and pool of each scrape.

Several scrapes of one server may stand one after the other in a file, as `curl ... >> metrics.txt`
leaves them: a gauge that comes again begins the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replay.diagnosis.reading.log_reader import ReadingTally
from replay.diagnosis.reading.metric_samples import Sample, iso_time, json_samples, text_samples
from replay.diagnosis.reading.sources import unreadable
from replay.errors import LogError
from replay.server_lines.records import Load, Place


@dataclass(frozen=True, slots=True)
class Gauge:
    """Where a gauge goes in a load; a higher rank replaces a lower one that says the same."""

    engine: str
    #: Pool, or empty where it is about requests.
    pool: str
    field: str
    rank: int = 0


_S, _V = "sglang", "vllm"
GAUGES: Mapping[str, Gauge] = {
    "sglang:token_usage": Gauge(_S, "full", "usage"),
    "sglang:full_token_usage": Gauge(_S, "full", "usage", 1),
    "sglang:swa_token_usage": Gauge(_S, "swa", "usage"),
    "sglang:mamba_usage": Gauge(_S, "mamba", "usage"),
    "sglang:num_used_tokens": Gauge(_S, "full", "used_tokens"),
    "sglang:kv_used_tokens": Gauge(_S, "full", "used_tokens", 1),
    "sglang:swa_used_tokens": Gauge(_S, "swa", "used_tokens"),
    "sglang:mamba_used_tokens": Gauge(_S, "mamba", "used_tokens"),
    "sglang:max_total_num_tokens": Gauge(_S, "full", "total_tokens"),
    "sglang:max_total_num_tokens_swa": Gauge(_S, "swa", "total_tokens"),
    "sglang:num_running_reqs": Gauge(_S, "", "running"),
    "sglang:num_queue_reqs": Gauge(_S, "", "queued"),
    "sglang:num_decode_prealloc_queue_reqs": Gauge(_S, "", "prealloc"),
    "sglang:num_decode_transfer_queue_reqs": Gauge(_S, "", "transferring"),
    "sglang:num_prefill_inflight_queue_reqs": Gauge(_S, "", "inflight"),
    "sglang:num_prefill_bootstrap_queue_reqs": Gauge(_S, "", "bootstrapping"),
    "sglang:prealloc_full_token_usage": Gauge(_S, "", "preallocated_usage"),
    "vllm:kv_cache_usage_perc": Gauge(_V, "full", "usage"),
    # Before 0.10.
    "vllm:gpu_cache_usage_perc": Gauge(_V, "full", "usage"),
    "vllm:num_requests_running": Gauge(_V, "", "running"),
    "vllm:num_requests_waiting": Gauge(_V, "", "queued"),
}
#: Gauges that are shares; the others are whole numbers.
SHARES = ("usage", "preallocated_usage")

_RANKS = (("dp_rank", "DP"), ("tp_rank", "TP"), ("pp_rank", "PP"), ("engine", "engine "))
_SERVERS = ("namespace", "pod", "instance", "job", "engine_type")


def rank_of(labels: Mapping[str, str]) -> str:
    """Whose gauge it is, as engines tag ranks."""
    return " ".join(f"{tag}{labels[name]}" for name, tag in _RANKS if labels.get(name))


def server_of(labels: Mapping[str, str]) -> str:
    """Which of several scraped servers it is; empty where nothing tells them apart."""
    return " ".join(labels[name] for name in _SERVERS if labels.get(name))


def is_partial(labels: Mapping[str, str]) -> bool:
    """Whether a sample is a part of another: the requests of one priority."""
    return bool(labels.get("priority"))


#: A JSON document is read whole.
_JSON_BYTES_MAX = 256 * 2**20
#: No line of an exposition is longer.
_LINE_CHARACTERS_MAX = 2**20


@dataclass(slots=True)
class _Scrape:
    """The gauges of one rank of one server, until one of them comes again."""

    engine: str
    instance: str
    rank: str
    line: int
    time_s: float | None
    #: By pool and field, with the gauge's rank; pool empty for requests.
    values: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    names: set[object] = field(default_factory=set)


def read_metrics(name: str, tally: ReadingTally) -> Iterator[Load]:
    """The loads of a file of metrics.

    Raises:
        LogError: it cannot be read, or is JSON of another kind.
    """
    try:
        with Path(name).open("rb") as file:
            is_json = file.read(1) in (b"{", b"[")
            size = file.seek(0, 2)
            tally.bytes_read += size
            file.seek(0)
            if is_json and size > _JSON_BYTES_MAX:
                raise LogError(
                    f"{name}: {size} bytes of JSON are more than the limit of "
                    f"{_JSON_BYTES_MAX}; query a shorter range or use a longer step"
                )
            if is_json:
                tally.lines += 1
                text = file.read().decode("utf-8", "replace")
                yield from _loads(name, json_samples(name, text), tally)
            else:
                yield from _loads(name, text_samples(_lines(file, tally)), tally)
    except OSError as problem:
        raise unreadable(name, problem) from problem


def _lines(file: Any, tally: ReadingTally) -> Iterator[str]:
    while raw := file.readline(_LINE_CHARACTERS_MAX):
        tally.lines += 1
        yield raw.decode("utf-8", "replace")


def _loads(name: str, samples: Iterable[Sample], tally: ReadingTally) -> Iterator[Load]:
    open_scrapes: dict[tuple[str, str, str], _Scrape] = {}
    for sample in samples:
        gauge = GAUGES.get(sample.name)
        labels = dict(sample.labels)
        if gauge is None or is_partial(labels):
            continue
        tally.count("metrics")
        key = (gauge.engine, server_of(labels), rank_of(labels))
        scrape = open_scrapes.get(key)
        identity = (sample.name, sample.labels)
        if scrape is not None and (identity in scrape.names or scrape.time_s != sample.time_s):
            yield from _finished(name, scrape)
            scrape = None
        if scrape is None:
            scrape = open_scrapes[key] = _Scrape(*key, sample.line, sample.time_s)
        scrape.names.add(identity)
        slot = (gauge.pool, gauge.field)
        if slot not in scrape.values or scrape.values[slot][0] <= gauge.rank:
            scrape.values[slot] = (gauge.rank, sample.value)
    for scrape in open_scrapes.values():
        yield from _finished(name, scrape)


def _finished(name: str, scrape: _Scrape) -> Iterator[Load]:
    requests = _fields(scrape, "")
    pools = sorted({pool for pool, _ in scrape.values if pool})
    place = Place(
        source=name,
        line=scrape.line,
        time_s=scrape.time_s,
        time=iso_time(scrape.time_s),
        rank=scrape.rank,
        engine=scrape.engine,
        instance=scrape.instance,
    )
    for pool in pools:
        own = _fields(scrape, pool)
        yield Load(place=place, pool=pool, scraped=True, **own, **requests)  # type: ignore[arg-type]


def _fields(scrape: _Scrape, pool: str) -> dict[str, float | int]:
    return {
        field: _typed(field, value)
        for (its_pool, field), (_, value) in scrape.values.items()
        if its_pool == pool
    }


def _typed(field: str, value: float) -> float | int:
    return value if field in SHARES else int(value)
