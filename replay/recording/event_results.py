"""The result of a delivery: an `Outcome` that is looked for, and the detail that says more.

They are two columns of events.parquet. Recordings with the schema `kvreplay.run/1` have one column of
texts instead, which is split here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from replay.recording.kinds import Outcome

#: How the text of a result begins, where that is not its outcome.
_TEXTS = {
    Outcome.ACCEPTED_AGAIN: "accepted again",
    Outcome.CRASHED: "crashed the scheduler",
    Outcome.UNDELIVERED: "not before the end",
    Outcome.TIMED_OUT: "timed out",
    Outcome.EXTENDED: "asked its sender, and waits on",
}


class Result(NamedTuple):
    """What became of a delivery; `detail` may be None."""

    outcome: Outcome
    detail: str | None = None

    @property
    def text(self) -> str:
        """Both as people read them."""
        text = _TEXTS.get(self.outcome, self.outcome.value)
        return text if self.detail is None else f"{text}{_joiner(self.outcome)}{self.detail}"

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Result:
        """That of a row of events.parquet."""
        return cls(Outcome(row["outcome"]), row["detail"])

    @classmethod
    def parse(cls, text: str) -> Result:
        """Split the text of a recording that has only that.

        Raises:
            ValueError: no result reads so.
        """
        for outcome in Outcome:
            whole = cls(outcome).text
            if text == whole:
                return cls(outcome)
            if text.startswith(start := whole + _joiner(outcome)):
                return cls(outcome, text.removeprefix(start))
        raise ValueError(f"{text!r} is not the result of an event")


ACCEPTED = Result(Outcome.ACCEPTED)
CRASHED = Result(Outcome.CRASHED)
LOST = Result(Outcome.LOST)
UNDELIVERED = Result(Outcome.UNDELIVERED)


def ignored(why: str) -> Result:
    """The receiver did nothing with the event."""
    return Result(Outcome.IGNORED, why)


def missed(why: str) -> Result:
    """An abort or a timeout aimed at a state found the request in another."""
    return Result(Outcome.MISSED, why)


def split_results(texts: pa.Array | pa.ChunkedArray) -> tuple[Any, Any]:
    """A column of texts as the columns `outcome` and `detail`, both dictionary-encoded.

    Raises:
        ValueError: a text is not a result.
    """
    texts = texts.cast(pa.string())
    distinct = pc.unique(texts)
    results = [Result.parse(text or "") for text in distinct.to_pylist()]
    which = pc.index_in(texts, value_set=distinct)
    outcomes = pa.array([result.outcome.value for result in results], pa.string())
    details = pa.array([result.detail for result in results], pa.string())
    return outcomes.take(which).dictionary_encode(), details.take(which).dictionary_encode()


def _joiner(outcome: Outcome) -> str:
    return " while " if outcome is Outcome.ABORTED else ": "
