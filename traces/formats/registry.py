"""The registry of log formats, and which of them a file is.

A format is a module with a `FORMAT`; it is imported when it is used or when a file has to be told
apart. Adding one means writing its module and one line here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from traces.errors import TraceError

if TYPE_CHECKING:
    from traces.formats.reader import LogReader
    from traces.formats.sample import Sample
    from traces.formats.source import LogFile
    from traces.schema import TraceRequest

#: Format name -> (module, one line for help texts). The plain ones come last.
FORMATS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "mooncake": ("traces.formats.mooncake", "Mooncake (FAST'25), JSONL"),
        "azure": ("traces.formats.azure", "Azure LLM inference traces 2023 and 2024, CSV"),
        "burstgpt": ("traces.formats.burstgpt", "BurstGPT, CSV"),
        "bailian": ("traces.formats.bailian", "Bailian (KVCache@ATC'25), JSONL"),
        "dynamo": ("traces.formats.dynamo", "NVIDIA Dynamo request traces, JSONL"),
        "aiperf": ("traces.formats.aiperf", "AIPerf profile_export.jsonl"),
        "baseten": ("traces.formats.baseten", "Baseten completion traces, Parquet"),
        "sglang-metrics": (
            "traces.formats.sglang_metrics",
            "SGLang --export-metrics-to-file, JSONL",
        ),
        "sglang-dump": ("traces.formats.sglang_dump", "SGLang request dumps, pickle"),
        "vllm-otlp": ("traces.formats.vllm_otlp", "vLLM OpenTelemetry spans, OTLP JSON lines"),
        "csv": ("traces.formats.plain_csv", "any CSV, with --map"),
        "jsonl": ("traces.formats.plain_jsonl", "any JSON lines, with --map"),
        "parquet": ("traces.formats.plain_parquet", "any Parquet, traces too, with --map"),
    }
)

#: The format of a plain file by its kind, for columns that the user names.
PLAIN_FORMATS = ("csv", "jsonl", "parquet")

#: What `--format` takes beside the names: tell the format from the content.
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class LogFormat:
    """One format of logs.

    Attributes:
        source: the note in the footer of traces made from it.
        matches: whether a file is of this format, from its beginning.
        read: yields a file's rows as requests, in the order of the file, telling the reader of
            every row that is none. Arrivals need not be sorted.
        is_wall_clock: arrivals count from 1970; the trace's then start at 0.
        takes_block_size: the user may say how many tokens a block hash covers.
    """

    source: str
    matches: Callable[[Sample], bool]
    read: Callable[[LogReader], Iterator[TraceRequest]]
    is_wall_clock: bool = True
    takes_block_size: bool = False


def load_format(name: str) -> LogFormat:
    """Import a format by its name, a key of `FORMATS`."""
    found = importlib.import_module(FORMATS[name][0]).FORMAT
    assert isinstance(found, LogFormat)
    return found


def detect_format(log: LogFile, *, has_column_map: bool) -> str | None:
    """Return the name of the one format a file is of, or None when it is empty.

    Args:
        log: the file.
        has_column_map: the user named columns, so the file is a plain one.

    Raises:
        TraceError: no format, or several, match; or the file cannot be read.
    """
    from traces.formats.sample import take_sample

    sample = take_sample(log)
    if not sample.head.strip():
        return None
    if has_column_map:
        return "parquet" if sample.parquet_columns else "jsonl" if sample.objects else "csv"
    names = [name for name in FORMATS if load_format(name).matches(sample)]
    if len(names) == 1:
        return names[0]
    if names:
        raise TraceError(f"{log.path}: could be {' or '.join(names)}; say which with --format")
    raise TraceError(
        f"{log.path}: is of no known format (it starts with {sample.head[:40]!r}); name it with "
        f"--format ({', '.join(FORMATS)}), or say which columns to take with --map column=field"
    )
