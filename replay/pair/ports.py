"""What the schedulers need from the outside: the link between the sides, and somebody who watches.

`replay.wires.link` is the link; `replay.watch.base` is who watches.
"""

from __future__ import annotations

from typing import Protocol

from faults.events import Direction, RequestState
from replay.pair.request import Rank, Request
from replay.pool.arrays import Array


class Timeouts(Protocol):
    """What starts a wait that may end by itself."""

    def awaits_decode_pages(self, request: Request) -> None:
        """Prefill waits for decode's pages from now on."""

    def awaits_writer(self, request: Request) -> None:
        """Decode has given the request up, and waits for the word that nobody writes its pages."""

    def holds_prompt(self, request: Request) -> None:
        """Prefill holds a computed prompt, and its timeout may count from here."""

    def overdue(self, request: Request, side: Direction) -> None:
        """A completion, or on prefill's side an acknowledgement, has not come when it was due."""


class Link(Protocol):
    """The wires between a prefill instance and a decode instance."""

    @property
    def timeouts(self) -> Timeouts:
        """The waits of its transfers."""

    def send_metadata(self, request: Request) -> None:
        """Tell prefill that decode has pages for this request, and which."""

    def offer(self, request: Request) -> None:
        """Tell decode that the prompt is computed and can be pulled."""

    def send_chunk(self, request: Request, start: int, pages: Array, is_last: bool) -> None:
        """Set prompt pages in motion (int64 [n], from position `start` on) to decode's pages."""

    def notify_prefill(self, request: Request) -> None:
        """Tell prefill that decode has given the request up."""

    def notify_decode(self, request: Request) -> None:
        """Tell decode that prefill has dropped the request and nobody writes its pages any more."""

    def never_asked_for(self, request: Request) -> None:
        """Decode gave the request up and does not tell prefill, which may hold it in vain."""


class Watcher:
    """The facts that a running pair tells; nobody need do anything about any of them.

    Nothing done here may change the engines' course.
    """

    def state_entered(self, request: Request, state: RequestState) -> None:
        """The request has come into a state at which a fault may be aimed."""

    def request_ended(self, request: Request) -> None:
        """One side is done with the request."""

    def client_left(self, request: Request) -> None:
        """The client of the request goes away; the sides are about to be told."""

    def accounting_changed(self, rank: Rank, iterations: int) -> None:
        """Pages of this rank may have changed hands; `iterations` engine iterations were covered."""

    def engine_idle(self, rank: Rank) -> None:
        """The engine is idle and its gate is open: it would check itself now."""

    def engine_died(self, rank: Rank, message: str) -> None:
        """The real engine would raise these words here and die."""

    def pages_read(self, request: Request, pages: int) -> None:
        """Decode is about to read this request's first `pages` pages."""

    def wrong_first_token(self, request: Request, stamp: int) -> None:
        """Decode takes its first token from a slot that bears another stamp than its own."""

    def released_again(self, request: Request) -> None:
        """The engine is about to release the pages of an ended request once more."""
