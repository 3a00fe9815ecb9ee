"""The interfaces of the schedulers to the outside: the link between the sides, and observers.

`replay.wires.link` implements the link, `replay.watch.base` the observers.
"""

from __future__ import annotations

from typing import Protocol

from faults.events import Direction, RequestState
from replay.pair.request import Rank, Request
from replay.pool.arrays import Array


class Timeouts(Protocol):
    """Starts waits that can time out."""

    def awaits_decode_pages(self, request: Request) -> None:
        """Prefill waits for decode's pages from now on."""

    def awaits_writer(self, request: Request) -> None:
        """Decode has given up the request, and waits for the notice that its pages are no longer written."""

    def holds_prompt(self, request: Request) -> None:
        """Prefill holds a computed prompt, and its timeout may count from here."""

    def overdue(self, request: Request, side: Direction) -> None:
        """A completion (on prefill's side an acknowledgement) did not arrive when it was due."""


class Link(Protocol):
    """The wires between a prefill instance and a decode instance."""

    @property
    def timeouts(self) -> Timeouts:
        """The timeouts of its transfers."""

    def send_metadata(self, request: Request) -> None:
        """Notify prefill of the pages that decode has allocated for this request."""

    def offer(self, request: Request) -> None:
        """Notify decode that the prompt is computed and can be pulled."""

    def send_chunk(self, request: Request, start: int, pages: Array, is_last: bool) -> None:
        """Start the transfer of prompt pages (int64 [n], from position `start` on) to decode's pages."""

    def notify_prefill(self, request: Request) -> None:
        """Notify prefill that decode has given up the request."""

    def notify_decode(self, request: Request) -> None:
        """Notify decode that prefill has dropped the request and no longer writes its pages."""

    def never_asked_for(self, request: Request) -> None:
        """Decode gave up the request without notifying prefill, which may hold it in vain."""


class Watcher:
    """The facts that a running pair tells; nobody need do anything about any of them.

    Nothing done here may change the engines' course.
    """

    def state_entered(self, request: Request, state: RequestState) -> None:
        """The request has entered a state at which a fault can be aimed."""

    def request_ended(self, request: Request) -> None:
        """The request has ended on one side."""

    def client_left(self, request: Request) -> None:
        """The client of the request disconnects; the sides are about to be notified."""

    def accounting_changed(self, rank: Rank, iterations: int) -> None:
        """Pages of this rank may have new owners; `iterations` engine iterations were covered."""

    def engine_idle(self, rank: Rank) -> None:
        """The engine is idle and its gate is open: it would run its own check now."""

    def engine_died(self, rank: Rank, message: str) -> None:
        """The real engine would raise this message and die."""

    def pages_read(self, request: Request, pages: int) -> None:
        """Decode is about to read this request's first `pages` pages."""

    def wrong_first_token(self, request: Request, stamp: int) -> None:
        """Decode takes its first token from a slot with the stamp of another attempt."""

    def released_again(self, request: Request) -> None:
        """The engine is about to release the pages of an ended request once more."""
