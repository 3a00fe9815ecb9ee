"""Deaths of schedulers, from their tracebacks.

    [2025-06-16 06:29:15 DP1 TP1] Scheduler hit an exception: Traceback (most recent call last):   sglang
    EngineCore encountered a fatal error.                                                          vllm
    ...
    AssertionError: ...

or from the watchdog that ends them. Sources: sglang 0.4.6.post4 and 0.5.23 `managers/scheduler.py`
(run_scheduler_process, watchdog_thread); vllm 0.33.0 `v1/engine/core.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from replay.recording.engine_messages import MessageStyle
from replay.server_lines.log_line import LinePrefix, LogLine
from replay.server_lines.records import Crash

#: Not a bare "Error": access lines have "500 Internal Server Error".
CRASH_WORDS = (
    "Traceback (most",
    "hit an exception",
    "fatal error",
    "AssertionError",
    "Error: ",
    "Exception: ",
    "assert ",
    # These are often raised without a message.
    "NotImplementedError",
    "TimeoutError",
    "EOFError",
    "MemoryError",
    "atchdog timeout (",
)

#: A traceback is no longer than this.
TRACEBACK_LINES = 400
MESSAGE_CHARACTERS = 300

_DEATH = re.compile(
    r"(?:Scheduler|EngineCore|WorkerProc|TpModelWorkerClient|TpModelWorker|EngineCoreProc)\w*"
    r"(?: \w+)? (?:hit an exception|encountered a fatal error)"
)
#: SGLang's watchdog ends its process after saying so, unless it is a soft one.
_WATCHDOG = re.compile(r"(?:Scheduler w|W)atchdog timeout \((?!.{0,99}soft=True).{0,99}\)")
_SERVER_PROCESS = re.compile(r"\((?:APIServer|ApiServer|MultiprocessingGPUExecutor)")
#: What stands before a message in vllm's lines, and in others'.
_BEFORE_MESSAGE = r"(?:^|[\]\)|] )\s{0,60}"
_EXCEPTION = re.compile(
    _BEFORE_MESSAGE + r"((?:[\w.]{1,200}\.)?((?:[A-Z]\w{0,99})?(?:Error|Exception))(?::\s.*|:?$))"
)
_ASSERT = re.compile(_BEFORE_MESSAGE + r"(assert [^\"].*)$")


_SRT = "/sgl-workspace/sglang/python/sglang/srt"
_VLLM = "/usr/local/lib/python3.12/dist-packages/vllm/v1"


@dataclass(frozen=True, slots=True)
class _Death:
    prefix: LinePrefix
    engine: str


class Tracebacks:
    """The tracebacks of one log: who raised the last one, and how it ends."""

    def __init__(self) -> None:
        self._death: _Death | None = None
        self._plain_line: int | None = None
        self._assert: tuple[int, str] = (-TRACEBACK_LINES, "")

    def prefix_of(self, line: LogLine, prefix: LinePrefix) -> LinePrefix:
        """The prefix of a traceback's last line, which has neither time nor rank of its own."""
        death = self._open_death(line, prefix)
        if death is None or prefix.rank or _exception(line) is None:
            return prefix
        said = death.prefix
        return replace(prefix, stamp=said.stamp, time_s=said.time_s, rank=said.rank)

    def is_raised(self, line: LogLine) -> bool:
        """Whether a line ends a traceback."""
        return _exception(line) is not None

    def read(self, line: LogLine, prefix: LinePrefix, is_check: bool) -> Crash | None:
        """Take in a line; the crash that it ends, unless it is a check."""
        text = line.text
        if found := _WATCHDOG.search(text):
            return Crash(place=prefix.place("sglang"), message=found[0])
        if _DEATH.search(text):
            self._death = _Death(
                prefix, "vllm" if "EngineCore" in text or "WorkerProc" in text else "sglang"
            )
            return None
        if "Traceback (most" in text:
            self._plain_line = line.number
            return None
        if found := _ASSERT.search(text):
            self._assert = (line.number, found[1])
            return None
        found = _exception(line)
        if found is None:
            return None
        death = self._open_death(line, prefix)
        self._death = None
        if is_check or _SERVER_PROCESS.search(text):
            return None
        return self._crash(line, prefix, death, found)

    def _crash(
        self, line: LogLine, prefix: LinePrefix, death: _Death | None, found: re.Match[str]
    ) -> Crash | None:
        said = found[1]
        assert_line, asserted = self._assert
        follows_assert = line.number - assert_line <= 3
        if follows_assert and found[2] == "AssertionError" and said.rstrip(":") == "AssertionError":
            said = f"AssertionError: {asserted}"
        if death is not None:
            place = death.prefix.place(death.engine)
            return Crash(place=replace(place, line=line.number), message=said[:MESSAGE_CHARACTERS])
        is_in_plain = (
            self._plain_line is not None and line.number - self._plain_line <= TRACEBACK_LINES
        )
        if found[2] != "AssertionError" or (is_in_plain and not follows_assert):
            return None
        engine = "vllm" if follows_assert and "sglang" not in said else "sglang"
        return Crash(place=prefix.place(engine), message=said[:MESSAGE_CHARACTERS])

    def _open_death(self, line: LogLine, prefix: LinePrefix) -> _Death | None:
        death = self._death
        if death is None or line.number - death.prefix.number > TRACEBACK_LINES:
            return None
        if prefix.rank not in ("", death.prefix.rank) or prefix.instance != death.prefix.instance:
            return None
        return death


def _exception(line: LogLine) -> re.Match[str] | None:
    found = _EXCEPTION.search(line.text)
    return None if found is None or "Warning" in found[2] else found


def sglang_death(message: str, side: str, style: MessageStyle, *, of_check: bool) -> str:
    """What a scheduler logs when its check raises, or an unexpected event does."""
    path, at, source = f"{_SRT}/managers/scheduler.py", "check_memory", "raise ValueError(msg)"
    error = f"ValueError: {message}"
    if not of_check:
        name, _, words = message.partition(": ")
        is_named = name.endswith("Error")
        error = name if is_named else f"Exception: {message}"
        path, at = f"{_SRT}/disaggregation/decode.py", "pop_transferred"
        if side == "prefill":
            path, at = f"{_SRT}/disaggregation/prefill.py", "process_disagg_prefill_inflight_queue"
        source = words if is_named else f'raise Exception("{message}")'
    elif style != "sglang-0.4":
        path, at = f"{_SRT}/utils/common.py", "raise_error_or_warn"
        source = "raise ValueError(message)"
    return (
        "Scheduler hit an exception: Traceback (most recent call last):\n"
        f'  File "{_SRT}/managers/scheduler.py", in run_scheduler_process\n'
        f'  File "{path}", in {at}\n'
        f"    {source}\n"
        f"{error}\n"
    )


def vllm_death(message: str) -> str:
    """What an engine core logs when an assertion fails."""
    name, _, source = message.partition(": ")
    return (
        "EngineCore encountered a fatal error.\n"
        "Traceback (most recent call last):\n"
        f'  File "{_VLLM}/engine/core.py", in run_busy_loop\n'
        f'  File "{_VLLM}/core/sched/scheduler.py", in _update_from_kv_xfer_finished\n'
        f"    {source or 'raise'}\n"
        f"{name if source else message}"
    )
