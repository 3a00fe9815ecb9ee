"""Records as reading makes them, a word each."""

from __future__ import annotations

from collections.abc import Iterable

from replay.diagnosis.diagnosis import Diagnosis
from replay.diagnosis.judging.assessment import Assessment
from replay.diagnosis.judging.judge import Judge
from replay.server_lines.records import (
    Crash,
    Load,
    Observation,
    Place,
    Record,
    Transfer,
    TransferTrouble,
)


def place(line: int, time_s: float | None = None, rank: str = "DP0 TP0", **others: str) -> Place:
    return Place(
        source=others.get("source", "decode.log"),
        line=line,
        time_s=time_s,
        time=None,
        rank=rank,
        engine=others.get("engine", "sglang"),
    )


def check(at: Place, gap: int, total: int = 4096, **others: object) -> Observation:
    counts = {"evictable": 0, "protected": 0, "session_held": 0, "uncached": 0} | others
    busy, raised, pool = (counts.pop(name, value) for name, value in _FLAGS)
    used = sum(int(str(value)) for value in counts.values())
    return Observation(
        place=at,
        pool=str(pool),
        available=total - gap - used,
        total=total,
        busy=bool(busy),
        raised=bool(raised),
        **counts,  # type: ignore[arg-type]
    )


_FLAGS = (("busy", False), ("raised", False), ("pool", "full"))


def load(at: Place, running: int, used: int | None = None, **others: object) -> Load:
    return Load(place=at, pool="full", running=running, used_tokens=used, **others)  # type: ignore[arg-type]


def trouble(at: Place, what: TransferTrouble, request: str = "r1") -> Transfer:
    return Transfer(place=at, trouble=what, room="7", request_id=request, reason="so it said")


def crash(at: Place, message: str = "AssertionError") -> Crash:
    return Crash(place=at, message=message)


def diagnosed(records: Iterable[Record]) -> Diagnosis:
    judge = Judge()
    judge.add_all(records)
    return judge.diagnosis()


def verdict(records: Iterable[Record]) -> Assessment:
    return diagnosed(records).worst


def checks(*gaps: int, every_s: float = 10.0, rank: str = "DP0 TP0") -> list[Record]:
    return [
        check(place(number + 1, number * every_s, rank), gap) for number, gap in enumerate(gaps)
    ]
