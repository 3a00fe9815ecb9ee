"""Who completion events are told to: decode's transfer queues and prefill's in-flight queues.

Also where a misrouted event ends up, and what a receiver can be asked about an event: whether it
waits for it, and when it last looked.
"""

from __future__ import annotations

from collections.abc import Callable

from faults.events import CompletionEvent, Direction
from faults.injector import Delivery
from replay.pair.deployment import Deployment
from replay.pair.inflight_queue import InFlightQueue
from replay.pair.request import EventQueue, Request, TransferState
from replay.profiles.profile import EngineProfile
from replay.recording.event_results import Result, ignored
from replay.recording.kinds import Outcome
from replay.wires.in_flight import InFlight


class EventRouter:
    """The queues of one pair that completion events are told to."""

    def __init__(self, profile: EngineProfile) -> None:
        self._profile = profile
        self._pair: Deployment
        #: Events that came before their bytes, and how their receivers are told, by the request that
        #: they are told of; where an engine keeps them until then.
        self._kept: dict[int, list[tuple[CompletionEvent, Callable[[], Result]]]] = {}
        self._shares = len(profile.parties().completions) if profile.transfer_skew_us else 1

    def connect(self, pair: Deployment) -> None:
        """Know the instances."""
        self._pair = pair

    # What a receiver is told.

    def tell(self, sent: InFlight, delivery: Delivery) -> Result:
        """Hand an event to its receiver, or to whom it was misrouted; what became of it."""
        request, event, detour = sent.request, sent.event, delivery.detour
        if detour == "kind":
            if event.direction == "decode":
                return ignored("nothing is sent from here")
            return request.prefill.inflight.receive_misrouted(request, sent.number)
        queue, addressee = _queue(request, event.direction), request
        if detour == "rank":
            if event.direction == "prefill":
                return self._prefill_beside(request).acknowledge_stranger()
            queue = self._decode_beside(request)
        elif detour == "room":
            stranger = queue.in_room(event.next_room)
            if stranger is None:
                return ignored("nobody waits in that room")
            addressee = stranger

        def hand_over() -> Result:
            return queue.complete(addressee, event, sent.number, delivery.failed)

        # Decode can give up while bytes move, and defers the release; prefill's pages are read.
        can_wait = not delivery.failed or event.direction == "prefill"
        if (
            self._profile.early_events == "believed"
            or not can_wait
            or self._has_landed(addressee, event)
        ):
            return hand_over()
        self._kept.setdefault(addressee.ordinal, []).append((event, hand_over))
        return Result(Outcome.KEPT, "its bytes have not landed")

    def bytes_landed(self, request: Request) -> list[Direction]:
        """Tell what was kept until these bytes landed; the sides that were told something."""
        if request.ordinal not in self._kept:
            return []
        told: list[Direction] = []
        still = []
        for event, hand_over in self._kept.pop(request.ordinal):
            if self._has_landed(request, event):
                hand_over()
                told.append(event.direction)
            else:
                still.append((event, hand_over))
        if still:
            self._kept[request.ordinal] = still
        return told

    def _has_landed(self, request: Request, event: CompletionEvent) -> bool:
        """Whether the bytes of a request that such an event is about are here."""
        if event.direction == "prefill":
            return request.transfer_state is TransferState.LANDED
        return event.part % self._shares < request.shares_landed

    # What a receiver can be asked.

    @staticmethod
    def awaits(request: Request, event: CompletionEvent) -> bool:
        """Whether the receiver waits for this event at the moment."""
        return _queue(request, event.direction).awaits(request, event)

    @staticmethod
    def polled_us(request: Request, direction: Direction) -> int:
        """When the receiver last looked at what it was told, -1 when never."""
        return _queue(request, direction).polled_us

    @staticmethod
    def force_poll(request: Request, direction: Direction) -> None:
        """Force the receiver to poll in its next iteration even if nothing changed.

        Decode leaps over polls that change nothing; prefill looks whenever it is woken.
        """
        if direction == "decode":
            request.decode.needs_attention = True

    @staticmethod
    def check_overdue(request: Request, direction: Direction) -> None:
        """Tell the receiver that everything it waits for should be there by now."""
        _queue(request, direction).check_overdue(request)

    def _decode_beside(self, request: Request) -> EventQueue:
        """The queue of the next DP rank."""
        ranks = self._pair.decodes[request.decode.instance].ranks
        return ranks[(request.decode.dp_rank + 1) % len(ranks)].transfers

    def _prefill_beside(self, request: Request) -> InFlightQueue:
        """The queue of the next DP rank."""
        ranks = self._pair.prefills[request.prefill.instance].ranks
        return ranks[(request.prefill.dp_rank + 1) % len(ranks)].inflight


def _queue(request: Request, direction: Direction) -> EventQueue:
    """Where a request waits for events of one direction."""
    return request.decode.transfers if direction == "decode" else request.prefill.inflight
