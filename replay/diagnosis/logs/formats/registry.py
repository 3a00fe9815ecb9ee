"""Every format of complete lines that a log is searched for; status lines of SGLang are apart."""

from __future__ import annotations

from replay.diagnosis.logs.formats.base import Format
from replay.diagnosis.logs.formats.connectors import ASCEND, LMCACHE, TRTLLM
from replay.diagnosis.logs.formats.sglang_transfers import SGLANG_FAILURES, SGLANG_TRANSFERS
from replay.diagnosis.logs.formats.vllm import VLLM_LOAD, VLLM_TRANSFERS

FORMATS: tuple[Format, ...] = (
    VLLM_LOAD,
    SGLANG_FAILURES,
    SGLANG_TRANSFERS,
    VLLM_TRANSFERS,
    ASCEND,
    TRTLLM,
    LMCACHE,
)
