"""Whose life is told: the page or the request that was asked for, or the guilty one.

Without a question it is the request that the worst episode is put down to; where there is no episode,
one that read wrong bytes or never ended.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import pyarrow.compute as pc

from replay.errors import RecordingError
from replay.recording.kinds import ENDS
from replay.recording.reader import Recording
from replay.recording.tables import NOBODY_NAME
from replay.verdict.blame import first_cause, owners_that_count
from replay.verdict.episodes import Episode, worst_episode
from replay.verdict.judge import judge

_POOLS_NAMED_MAX = 8
#: Request ids that a message names.
_NAMED_MAX = 3
#: Characters of an id that a message shows.
_ID_CHARACTERS_MAX = 80


@dataclass(frozen=True, slots=True)
class PageName:
    """A page as people name it: `decode0/dp3:412`."""

    pool: str
    number: int

    def __str__(self) -> str:
        """The same text."""
        return f"{self.pool}:{self.number}"


def find_page(recording: Recording, text: str, pool: str | None) -> PageName:
    """The page that is called so: `POOL:NUMBER`, or `NUMBER` where the pool is given beside it.

    Raises:
        RecordingError: it is not a page of a pool of this recording.
    """
    named, colon, digits = text.rpartition(":")
    if colon and pool is not None and pool != named:
        raise RecordingError(f"--page {text!r} names another pool than --pool {pool!r}; give one")
    pool = named if colon else pool
    if pool is None:
        raise RecordingError(
            f"--page {text!r} does not say of which pool; write it as decode0/dp3:412, or add --pool"
        )
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
        raise RecordingError(f"--page {text!r}: {digits!r} is not the number of a page")
    totals = {each["pool"]: each["total_tokens"] for each in recording.run["pools"]}
    if pool not in totals:
        some = list(totals)[:_POOLS_NAMED_MAX]
        more = ", ..." if len(totals) > len(some) else ""
        raise RecordingError(
            f"{recording.directory}: has no pool {shown_id(pool)}; there are {', '.join(some)}{more}"
        )
    pages = totals[pool] // recording.run["profile"]["page_size"]
    if not 1 <= int(digits) <= pages:
        raise RecordingError(f"{pool} has the pages 1 to {pages}; there is no page {int(digits)}")
    return PageName(pool, int(digits))


def guilty_requests(episode: Episode) -> list[str]:
    """Requests whose pages make an episode: first that of the event it is put down to, then by pages."""
    pages: dict[str, int] = {}
    for owner in owners_that_count(episode):
        if owner.request_id != NOBODY_NAME:
            most = max(pages.get(owner.request_id, 0), abs(owner.pages))
            pages[owner.request_id] = most
    cause = first_cause(episode)
    named = None if cause is None else cause.request_id
    return sorted(pages, key=lambda request_id: (request_id != named, -pages[request_id]))


def choose_request(recording: Recording) -> tuple[str, str]:
    """The guilty request, and one sentence that says why it is that one.

    Raises:
        RecordingError: nothing went wrong, so that there is none; or the recording is damaged.
    """
    worst = worst_episode(judge(recording).episodes)
    if worst is not None and (guilty := guilty_requests(worst)):
        others = "" if len(guilty) == 1 else f", one of {len(guilty):,}"
        return guilty[0], f"It is the guilty request of the worst episode, in {worst.pool}{others}."
    for batch in recording.batches("contents", ("request_id",)):
        if len(batch):
            return batch["request_id"][0].as_py(), "It is the first to read wrong bytes."
    for batch in recording.batches("requests", ("request_id", "prefill_state", "decode_state")):
        for row in batch.to_pylist():
            if row["decode_state"] not in ENDS or row["prefill_state"] not in ENDS:
                return row["request_id"], "It is the first that never ended."
    raise RecordingError(
        f"{recording.directory}: no request of it is guilty of anything; name one with --request"
    )


def find_request(recording: Recording, wanted: str) -> str:
    """The request that is called so, or the only one whose id begins so.

    Raises:
        RecordingError: there is none, or several begin so; the message names some.
    """
    # What a terminal gives need not be text.
    wanted = wanted.encode(errors="backslashreplace").decode()
    beginnings: list[str] = []
    count = 0
    nearest: list[tuple[int, int, str]] = []
    for batch in recording.batches("requests", ("request_id",)):
        ids = batch["request_id"]
        begins = ids.filter(pc.starts_with(ids, wanted))
        if wanted in (found := begins.to_pylist()):
            return wanted
        count += len(found)
        beginnings += found[: _NAMED_MAX + 1]
        if not count:
            likely = ((*_likeness(each, wanted), each) for each in ids.to_pylist())
            nearest = heapq.nlargest(_NAMED_MAX, (*nearest, *likely))
    if count == 1:
        return beginnings[0]
    if count:
        raise RecordingError(
            f"{recording.directory}: {count} requests begin with {shown_id(wanted)}: "
            f"{_listed(sorted(beginnings), count)}; name one of them whole"
        )
    near = _listed([each for _, _, each in nearest], len(nearest))
    raise RecordingError(
        f"{recording.directory}: has no request {shown_id(wanted)}; "
        + (f"the nearest are {near}" if near else "it has no requests at all")
    )


def shown_id(request_id: str) -> str:
    """An id as messages show it: whole unless it is very long."""
    if len(request_id) <= _ID_CHARACTERS_MAX:
        return repr(request_id)
    return f"{request_id[:_ID_CHARACTERS_MAX]!r}... ({len(request_id):,} characters)"


def _likeness(each: str, wanted: str) -> tuple[int, int]:
    """How long a beginning two ids share, and how little their lengths differ."""
    pairs = zip(each, wanted, strict=False)
    shared = next((at for at, (mine, other) in enumerate(pairs) if mine != other), None)
    length = min(len(each), len(wanted)) if shared is None else shared
    return length, -abs(len(each) - len(wanted))


def _listed(ids: list[str], count: int) -> str:
    named = ", ".join(shown_id(each) for each in ids[:_NAMED_MAX])
    return f"{named}, ..." if count > _NAMED_MAX else named
