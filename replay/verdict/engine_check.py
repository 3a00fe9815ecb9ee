"""The engine's own check as an oracle: false alarms, and what the real engine would have died of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from replay.recording.events import read_events
from replay.recording.kinds import Outcome
from replay.recording.reader import Recording
from replay.recording.words import seconds, what_happened
from replay.verdict.base import Oracle, Ruling
from replay.verdict.findings.finding import ALL_POOLS, Blamed, Block


@dataclass(frozen=True, slots=True)
class EngineCheck(Oracle):
    """Alarms and deaths of the engine in a recording."""

    name = "engine_check"

    #: What the engine would have died of, None when it lives.
    died_message: str | None
    died_us: int | None
    #: The most pages with live owners that the check has called a leak, and where and when.
    false_alarm_pages: int = 0
    false_alarm_pool: str | None = None
    false_alarm_us: int | None = None

    @property
    def total(self) -> None:
        """No number: the summary has the engine's check and death in keys of their own."""
        return None

    def kinds(self) -> dict[str, int]:
        """Pages that a false alarm was about."""
        return {"check-false-alarm": self.false_alarm_pages}

    def ruling(self) -> Ruling | None:
        """A replay in which the engine would have died says nothing of what came after."""
        if self.died_us is None or self.died_message is None:
            return None
        words = self.died_message.split("\n")[0]
        false = "on a false alarm, " if self.false_alarm_pages else ""
        when = f"{self.died_us / 1e6:.3f} s"
        return (
            "inconclusive",
            f"the real engine would have died at {when}, {false}with the words: {words}",
        )

    def blame(self, recording: Recording) -> str:
        """One sentence about the event that would have killed the engine; empty for none."""
        if self.died_message is None:
            return ""
        crashed: list[tuple[int, str]] = []
        for batch in recording.batches("events", ("event", "request_id", "outcome")):
            is_fatal = pc.equal(batch["outcome"].cast(pa.string()), Outcome.CRASHED.value)
            rows = batch.filter(is_fatal)
            crashed += zip(rows["event"].to_pylist(), rows["request_id"].to_pylist(), strict=True)
        if not crashed:
            return ""
        number, request_id = min(crashed)
        events = read_events(recording, {request_id})[request_id]
        return what_happened(
            next(
                each for each in events if each.event == number and each.outcome is Outcome.CRASHED
            )
        )

    def blocks(self, recording: Recording, in_gaps: Sequence[Block]) -> Blamed:
        """The pages of a false alarm."""
        if not self.false_alarm_pages:
            return []
        time_us = self.false_alarm_us
        block = Block(
            category="false alarm",
            kind="check-false-alarm",
            pool=self.false_alarm_pool or ALL_POOLS,
            request_id=None,
            pages=self.false_alarm_pages,
            lasts=False,
            opened_us=time_us,
            closed_us=time_us,
        )
        died = f": {self.died_message}" if self.died_message else ""
        when = "" if time_us is None else f" at {seconds(time_us)}"
        words = f"the engine's own check fired{when} though every page had a live owner{died}"
        return [(block, words)]


def read_engine_check(recording: Recording) -> EngineCheck:
    """Read deaths, and the first of the false alarms with the most tokens in use."""
    run = recording.run
    engine = run["engine"]
    tokens, pool, time_us = 0, None, None
    columns = ("engine_check", "gap", "live", "in_transfer", "pool", "time_us")
    for batch in recording.batches("audits", columns) if engine["check_fired"] else ():
        fired = pc.equal(batch["engine_check"].cast(pa.string()), "fired")
        for row in batch.filter(pc.and_(fired, pc.equal(batch["gap"], 0))).to_pylist():
            in_use = row["live"] + row["in_transfer"]
            if in_use > tokens:
                tokens, pool, time_us = in_use, row["pool"], row["time_us"]
    return EngineCheck(
        died_message=engine["died_message"],
        died_us=engine["died_us"],
        false_alarm_pages=tokens // run["profile"]["page_size"],
        false_alarm_pool=pool,
        false_alarm_us=time_us,
    )
