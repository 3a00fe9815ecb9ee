"""The registry of log formats, and the detection of a file's format.

A format is a module with a `FORMAT` (`traces.formats.base.LogFormat`). Formats are imported when a
log is read. To add one, write its module and name it in `FORMATS` and in `load_format`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from traces.errors import TraceError

if TYPE_CHECKING:
    from traces.formats.base import LogFormat
    from traces.formats.source import LogFile

#: Format name -> one line for help texts. The plain ones come last.
FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "mooncake": "Mooncake (FAST'25), JSONL",
        "azure": "Azure LLM inference traces 2023 and 2024, CSV",
        "burstgpt": "BurstGPT, CSV",
        "bailian": "Bailian (KVCache@ATC'25), JSONL",
        "dynamo": "NVIDIA Dynamo request traces, JSONL",
        "aiperf": "AIPerf profile_export.jsonl",
        "baseten": "Baseten completion traces, Parquet",
        "sglang-metrics": "SGLang --export-metrics-to-file, JSONL",
        "sglang-dump": "SGLang request dumps, pickle",
        "vllm-otlp": "vLLM OpenTelemetry spans, OTLP JSON lines",
        "csv": "any CSV, with --map",
        "jsonl": "any JSON lines, with --map",
        "parquet": "any Parquet, traces too, with --map",
    }
)

#: The formats whose columns the user may name.
PLAIN_FORMATS = ("csv", "jsonl", "parquet")

#: The value of `--format` that detects the format from the content.
AUTO = "auto"


def load_format(name: str) -> LogFormat:
    """Import the formats, and return one by its name, a key of `FORMATS`."""
    from traces.formats import (
        aiperf,
        azure,
        bailian,
        baseten,
        burstgpt,
        dynamo,
        mooncake,
        plain,
        sglang_dump,
        sglang_metrics,
        vllm_otlp,
    )

    return {
        "mooncake": mooncake.FORMAT,
        "azure": azure.FORMAT,
        "burstgpt": burstgpt.FORMAT,
        "bailian": bailian.FORMAT,
        "dynamo": dynamo.FORMAT,
        "aiperf": aiperf.FORMAT,
        "baseten": baseten.FORMAT,
        "sglang-metrics": sglang_metrics.FORMAT,
        "sglang-dump": sglang_dump.FORMAT,
        "vllm-otlp": vllm_otlp.FORMAT,
        "csv": plain.CSV,
        "jsonl": plain.JSONL,
        "parquet": plain.PARQUET,
    }[name]


def detect_format(log: LogFile, *, has_column_map: bool) -> str | None:
    """Return the name of the one format a file is of, or None when it is empty.

    Args:
        log: the file.
        has_column_map: the user named columns, so the file is a plain one.

    Raises:
        TraceError: no format, or several, match; or the file cannot be read.
    """
    from traces.formats.base import take_sample

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
