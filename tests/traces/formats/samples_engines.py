"""A good file of every engine's log, ugly but readable rows included, for tests that break them."""

from samples_engine_rows import inputs, json_lines
from samples_sglang import SGLANG_DUMP, SGLANG_METRICS, new_dump
from samples_vllm import VLLM_OTLP, batches


def samples():
    """The files by the name of their format."""
    return {
        "sglang-metrics": json_lines(inputs(SGLANG_METRICS)),
        "sglang-dump": new_dump(inputs(SGLANG_DUMP)),
        "vllm-otlp": batches(inputs(VLLM_OTLP)),
    }
