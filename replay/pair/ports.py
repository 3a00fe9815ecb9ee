"""What the schedulers need from the outside: the link between the sides, and somebody who watches.

The engine package depends on these protocols only; `replay.wires.link` and `replay.run.session` implement
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from faults.events import RequestState
    from replay.pair.decode_rank import DecodeRank
    from replay.pair.prefill_rank import PrefillRank
    from replay.pair.request import Request
    from replay.pool.arrays import Array


class Timeouts(Protocol):
    """What starts a wait that may end by itself."""

    def awaits_writer(self, request: Request) -> None:
        """Decode has given the request up, and waits for the word that nobody writes its pages."""

    def holds_prompt(self, request: Request) -> None:
        """Prefill holds a computed prompt, and its timeout may count from here."""


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


class Watcher(Protocol):
    """Who is told what happens; nothing it does may change the engines' course."""

    def rank_changed(self, rank: DecodeRank | PrefillRank, iterations: int) -> None:
        """Some accounting of this rank changed; `iterations` engine iterations were covered."""

    def rank_idle(self, rank: DecodeRank | PrefillRank) -> None:
        """The engine is idle and its gate is open: it would check itself now."""

    def engine_died(self, rank: DecodeRank | PrefillRank, message: str) -> None:
        """The real engine would raise these words here and die."""

    def pages_read(self, request: Request, pages: int) -> None:
        """Decode is about to read this request's first `pages` pages: compare their contents."""

    def wrong_first_token(self, request: Request, stamp: int) -> None:
        """Decode takes its first token from a slot that bears another stamp than its own."""

    def waiting_for_release(self, request: Request, side: str) -> None:
        """A completion of this request is overdue on one side, "prefill" or "decode"."""

    def released_again(self, request: Request) -> None:
        """The engine is about to release the pages of an ended request once more."""

    def entered(self, request: Request, state: RequestState) -> None:
        """The request has come into a state at which a fault may be aimed."""

    def request_ended(self, request: Request) -> None:
        """One side is done with the request."""
