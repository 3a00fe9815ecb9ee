"""Every format of complete lines that a log is searched for; status lines of SGLang are apart."""

from __future__ import annotations

from replay.server_lines.base import Family
from replay.server_lines.connectors import ASCEND, LMCACHE, TRTLLM
from replay.server_lines.sglang_transfers import SGLANG_FAILURES, SGLANG_TRANSFERS
from replay.server_lines.vllm import VLLM_LOAD, VLLM_TRANSFERS

FAMILIES: tuple[Family, ...] = (
    VLLM_LOAD,
    SGLANG_FAILURES,
    SGLANG_TRANSFERS,
    VLLM_TRANSFERS,
    ASCEND,
    TRTLLM,
    LMCACHE,
)
