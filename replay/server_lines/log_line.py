r"""One line of a log: cleaned, with its time and rank, wherever a collector or an engine put them.

    docker, Kubernetes   2025-10-15T00:04:48.758564289Z [stderr F ]...   {"log": "...\n", "time": "..."}
    kubectl --prefix     [pod/name/container] ...          docker compose   decode-1  | ...
    grep                 prefill.log:... or prefill.log:12:...
    sglang               [2025-10-15 11:03:35 DP6 TP6 EP6] ...   [TP0] ...   [gpu=0] ...
    vllm                 (Worker_DP3_TP1_EP25 pid=649) ERROR 08-29 09:12:47 [file.py:233] ...
    lmcache, trtllm      [2025-11-12 21:12:41,177] ...   [08/29/2025-09:12:47] [TRT-LLM] [W] ...
    glog (mooncake)      I0616 06:29:14.501163 1115123 file.cpp:387] ...

Colours, carriage returns and what is not text are taken away first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from replay.server_lines.records import Place
from replay.server_lines.times import LogClock, Stamp

#: Longer lines are examined as if they ended here.
LINE_BYTES_MAX = 64 * 1024
#: Times, ranks and pods stand within this many characters of a line's start.
HEAD_CHARACTERS = 400

_COLOURS = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")

_RANK_TOKEN = r"(?:(?:ATTN_|MOE_)?(?:DP|TP|PP|EP|CP|SP|DCP|PCP|DCN)\d{1,5})"
#: sglang's tag; its opening bracket and time may be cut away.
_RANK_BRACKET = re.compile(rf"(?:^|[\[\s])({_RANK_TOKEN}(?: {_RANK_TOKEN})*)\](?=\s|$)")
_RANK_GPU = re.compile(r"\[(gpu=\d+)\]")
#: vllm's processes: `(EngineCore_DP3 pid=546)`, `(Worker_DP3_TP1_EP25 pid=649)`.
_RANK_PROCESS = re.compile(rf"\([A-Za-z]+((?:[_ ]{_RANK_TOKEN})+)(?: pid=\d+)?\)")

#: `[2025-10-15 11:03:35 DP6 TP6 EP6] `, which most lines of sglang begin with.
_PLAIN = re.compile(
    rf"\[(\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?)((?: {_RANK_TOKEN})*)\](?=\s|$)"
)

_INSTANCE = re.compile(
    r"\[(pod/[^\]\s]+)\] "
    r"|([\w.-]+(?:[_-]\d+)?)\s+\| "
    r"|((?:[\w.-]*/)*[\w.-]+\.(?:log|txt|out|err)(?:\.\d+)?)(?::\d+)?[:-](?=\D)"
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that may say something.

    Attributes:
        number: from 1, in its file.
        text: without colours, control characters and line end.
        outer_time: the time that a JSON wrapper gives it.
    """

    number: int
    text: str
    outer_time: str = ""

    @property
    def head(self) -> str:
        """Where times, ranks and instances are looked for."""
        return self.text[:HEAD_CHARACTERS]


def split_lines(number: int, raw: bytes) -> Iterator[LogLine]:
    """Split one line of a file into log lines.

    Progress bars separate lines with carriage returns, and some collectors wrap lines in JSON.
    """
    text = raw[:LINE_BYTES_MAX].decode("utf-8", errors="replace")
    outer_time = ""
    if text[:1] in "{\x00 \t" and (stripped := text.strip("\x00 \t\r\n")).startswith("{"):
        text, outer_time = _unwrapped(stripped)
    if text.isprintable():
        if text := text.rstrip():
            yield LogLine(number, text, outer_time)
        return
    text = _COLOURS.sub("", text)
    for part in re.split(r"[\r\n]+", text):
        part = _CONTROLS.sub("", part).rstrip()
        if part:
            yield LogLine(number, part, outer_time)


def _unwrapped(text: str) -> tuple[str, str]:
    """The message and time of a container's JSON line, or the text itself."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return text, ""
    if not isinstance(record, dict):
        return text, ""
    for key in ("log", "message", "msg", "text", "body", "line"):
        message = record.get(key)
        if isinstance(message, str):
            break
    else:
        return text, ""
    for key in ("time", "timestamp", "@timestamp", "ts", "asctime"):
        time = record.get(key)
        if isinstance(time, str):
            return message, time
    return message, ""


def sglang_line(when: datetime, tag: str, message: str) -> str:
    """A line as SGLang's processes log it (0.4.6.post4 and 0.5.23 `utils.py`, configure_logger).

    Args:
        when: shown to the second below.
        tag: the ranks that the process names, such as ` DP3 TP3`; empty for none.
        message: may have several lines.
    """
    return f"[{when:%Y-%m-%d %H:%M:%S}{tag}] {message}"


def vllm_line(process: str, level: str, when: datetime, place: str, message: str) -> str:
    """A line as vLLM's processes log it: every line of a message has the prefix.

    Args:
        process: such as `EngineCore_DP0 pid=100`.
        level: such as INFO.
        when: shown to the second below, without its year.
        place: file and line, such as `core.py:2806`.
        message: may have several lines.
    """
    prefix = f"({process}) {level} {when:%m-%d %H:%M:%S} [{place}] "
    return "\n".join(prefix + line for line in message.split("\n"))


def plain_prefix(line: LogLine) -> tuple[str, str] | None:
    """Time and ranks of a line that begins as sglang's do; None for others."""
    found = _PLAIN.match(line.text)
    return None if found is None else (found[1], found[2][1:])


def rank_of(line: LogLine) -> str:
    """Ranks as the engine tags them, such as "DP6 TP6 EP6"; empty where untagged."""
    head = line.head
    if found := _RANK_BRACKET.search(head):
        return found[1]
    if found := _RANK_PROCESS.search(head):
        return " ".join(re.findall(_RANK_TOKEN, found[1]))
    if found := _RANK_GPU.search(head):
        return found[1]
    return ""


def instance_of(line: LogLine) -> str:
    """Which of several servers in one log this is, where a collector says so; else empty."""
    found = _INSTANCE.match(line.head)
    return "" if found is None else next(group for group in found.groups() if group)


@dataclass(frozen=True, slots=True)
class LinePrefix:
    """What a line's head says, and when it was written.

    Attributes:
        stamp: its own time; None where it has none.
        time_s: that time, or the time of the last line before it that has one.
        rank: as tagged; empty where untagged.
    """

    source: str
    number: int
    stamp: Stamp | None
    time_s: float | None
    rank: str
    instance: str

    def place(self, engine: str, rank_said: str = "") -> Place:
        """The place of this line, for an engine and the rank that its message names."""
        return Place(
            source=self.source,
            line=self.number,
            time_s=self.time_s,
            time=None if self.stamp is None else self.stamp.time,
            rank=self.rank or rank_said,
            engine=engine,
            instance=self.instance,
        )


class PrefixReader:
    """Reads the heads of one log's lines, in order."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._clock = LogClock()
        self._last_s: float | None = None

    def read(self, line: LogLine) -> LinePrefix:
        """The head of the next line."""
        plain = None if line.outer_time else plain_prefix(line)
        if plain is not None:
            stamp = self._clock.read(plain[0])
            self._last_s = self._last_s if stamp is None else stamp.time_s
            return LinePrefix(self._source, line.number, stamp, self._last_s, plain[1], "")
        stamp = self._clock.read(line.outer_time or line.head)
        if stamp is not None:
            self._last_s = stamp.time_s
        return LinePrefix(
            self._source, line.number, stamp, self._last_s, rank_of(line), instance_of(line)
        )
