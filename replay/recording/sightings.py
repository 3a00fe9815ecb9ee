"""What was seen of one request or one page when a recording was replayed once more.

`replay.watch.notebook` writes it down; explanations read it beside the tables of the recording.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from replay.recording.owner_codes import CACHE, FIRST_OWNER

PageAction = Literal[
    "take", "release", "cache", "evict", "stray-write", "stray-read", "sent", "landed", "read"
]


class Watch(NamedTuple):
    """What is watched: a request, by its id, or a page, by its pool and number."""

    request_id: str | None = None
    pool: str | None = None
    page: int = 0


class StateSighting(NamedTuple):
    """A request came into a state, ended, lost its client, or waited too long, on one rank."""

    sequence: int
    time_us: int
    pool: str
    request: str
    state: str


class PageSighting(NamedTuple):
    """Pages were touched; all tuples are as long as `pages`.

    `holders` owned the pages before, and `by` are the owners on whose behalf it happened, as the
    ledger knows them: FREE, CACHE, or a request's number + FIRST_OWNER.
    """

    sequence: int
    time_us: int
    pool: str
    action: PageAction
    pages: tuple[int, ...]
    holders: tuple[int, ...]
    by: tuple[int, ...]
    #: Of a page that decode reads: whether it held other bytes than the reader's own.
    is_wrong: bool = False


@dataclass(frozen=True, slots=True)
class Sighted:
    """Everything that was seen, in order, with the names of all requests in it by number."""

    states: tuple[StateSighting, ...]
    pages: tuple[PageSighting, ...]
    names: dict[int, str]
    #: The owner code of the watched request; None where a page was watched.
    code: int | None = None

    def name(self, code: int) -> str:
        """Whom an owner code stands for."""
        if code < FIRST_OWNER:
            return "the prefix cache" if code == CACHE else "nobody"
        return self.names.get(code - FIRST_OWNER, f"request number {code - FIRST_OWNER}")
