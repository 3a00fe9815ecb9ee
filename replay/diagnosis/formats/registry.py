"""Every format of complete lines that a log is searched for."""

from __future__ import annotations

from replay.diagnosis.formats.base import Format
from replay.diagnosis.formats.sglang_load import SGLANG_LOAD
from replay.diagnosis.formats.sglang_transfers import SGLANG_TRANSFERS

FORMATS: tuple[Format, ...] = (SGLANG_LOAD, SGLANG_TRANSFERS)
