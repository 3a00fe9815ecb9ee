"""Every format of complete lines that a log is searched for."""

from __future__ import annotations

from replay.diagnosis.formats.base import Format
from replay.diagnosis.formats.connectors import ASCEND, LMCACHE, TRTLLM
from replay.diagnosis.formats.sglang_load import SGLANG_LOAD
from replay.diagnosis.formats.sglang_transfers import SGLANG_FAILURES, SGLANG_TRANSFERS
from replay.diagnosis.formats.vllm import VLLM_LOAD, VLLM_TRANSFERS

FORMATS: tuple[Format, ...] = (
    SGLANG_LOAD,
    VLLM_LOAD,
    SGLANG_FAILURES,
    SGLANG_TRANSFERS,
    VLLM_TRANSFERS,
    ASCEND,
    TRTLLM,
    LMCACHE,
)
