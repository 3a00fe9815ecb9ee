"""Who completion events are told to: decode's transfer queues and prefill's in-flight queues.

Also where a misrouted event ends up, and what a receiver can be asked about an event: whether it
waits for it, and when it last looked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from faults.events import CompletionEvent, Direction, RequestState
from faults.rule import Detour
from replay.pair.decode import DecodeInstance
from replay.pair.decode_rank import DecodeRank
from replay.pair.prefill import PrefillInstance
from replay.pair.prefill_rank import PrefillRank
from replay.pair.request import DecodeState, PrefillState, Request, TransferState
from replay.profiles.profile import EngineProfile
from replay.profiles.routing import decode_places, prefill_places
from replay.recording.event_results import ignored, kept_for_later

_TRANSFER_STATES: dict[TransferState, RequestState] = {
    TransferState.NOT_STARTED: "transfer",
    TransferState.MOVING: "moving",
    TransferState.LANDED: "landed",
}
_PREFILL_STATES: dict[PrefillState, RequestState] = {
    PrefillState.BOOTSTRAP: "bootstrap",
    PrefillState.WAITING: "prefill-waiting",
    PrefillState.RUNNING: "prefilling",
    PrefillState.INFLIGHT: "in-flight",
}


def state_of(request: Request, side: Direction) -> str:
    """A `RequestState` of that side, or how the request has ended there."""
    if side == "prefill":
        known = _PREFILL_STATES.get(request.prefill_state)
        return known or str(request.prefill_state.value)
    if request.decode_state is DecodeState.TRANSFER:
        return _TRANSFER_STATES[request.transfer_state]
    return str(request.decode_state.value)


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """An event for a request, and how its receiver is told."""

    request: Request
    event: CompletionEvent
    tell: Callable[[], str]


class Receivers:
    """The queues of one pair that completion events are told to."""

    def __init__(self, profile: EngineProfile) -> None:
        self._profile = profile
        self._prefills: list[PrefillInstance] = []
        self._decodes: list[DecodeInstance] = []
        #: Events that came before their bytes, by request, where an engine keeps them until then.
        self._kept: dict[int, list[_Kept]] = {}
        self._shares = len(profile.parties().completions) if profile.transfer_skew_us else 1

    def connect(self, prefills: list[PrefillInstance], decodes: list[DecodeInstance]) -> None:
        """Know the instances."""
        self._prefills, self._decodes = prefills, decodes

    # What an event says of its receiver.

    def dp_ranks(self, direction: Direction) -> int:
        """DP ranks of an instance on the receiving side."""
        return self._profile.decode_dp if direction == "decode" else self._profile.prefill_dp

    def next_room(self, room: int, direction: Direction) -> int:
        """The next room that the receiver of a room serves."""
        places = decode_places if direction == "decode" else prefill_places
        room += places(self._profile)
        return room % self._profile.bootstrap_rooms if self._profile.bootstrap_rooms else room

    # What a receiver is told.

    def tell(
        self,
        request: Request,
        event: CompletionEvent,
        number: int,
        failed: bool,
        detour: Detour | None,
    ) -> str:
        """Hand an event to its receiver, or to whom it was misrouted; what became of it."""
        if event.direction == "decode":
            return self._tell_decode(request, event, number, failed, detour)
        return self._tell_prefill(request, event, number, failed, detour)

    def _tell_decode(
        self,
        request: Request,
        event: CompletionEvent,
        number: int,
        failed: bool,
        detour: Detour | None,
    ) -> str:
        if detour == "kind":
            return ignored("nothing is sent from here")
        queue, addressee = request.decode.transfers, request
        if detour == "rank":
            queue = self._decode_beside(request.decode).transfers
        elif detour == "room":
            stranger = queue.in_room(event.next_room)
            if stranger is None:
                return ignored("nobody waits in that room")
            addressee = stranger
        return self._hand_over(
            _Kept(
                addressee,
                event,
                lambda: queue.complete(
                    addressee, event.prefill_tp_rank, event.decode_tp_rank, number, failed
                ),
            ),
            failed,
        )

    def _tell_prefill(
        self,
        request: Request,
        event: CompletionEvent,
        number: int,
        failed: bool,
        detour: Detour | None,
    ) -> str:
        queue, addressee = request.prefill.inflight, request
        if detour == "kind":
            return queue.receive_misrouted(request, number)
        if detour == "rank":
            return self._prefill_beside(request.prefill).inflight.acknowledge_stranger()
        if detour == "room":
            stranger = queue.in_room(event.next_room)
            if stranger is None:
                return ignored("nobody waits in that room")
            addressee = stranger
        return self._hand_over(
            _Kept(
                addressee,
                event,
                lambda: queue.acknowledge(addressee, event.prefill_tp_rank, number, failed),
            ),
            failed,
        )

    def _hand_over(self, told: _Kept, failed: bool) -> str:
        """Tell a receiver at once, or where it does not believe early events, when bytes are here."""
        # Decode can give up while bytes move, and defers the release; prefill's pages are read.
        can_wait = not failed or told.event.direction == "prefill"
        if self._profile.early_events == "believed" or self._has_landed(told) or not can_wait:
            return told.tell()
        self._kept.setdefault(told.request.ordinal, []).append(told)
        return kept_for_later("its bytes have not landed")

    def bytes_landed(self, request: Request) -> list[Direction]:
        """Tell what was kept until these bytes landed; the sides that were told something."""
        if request.ordinal not in self._kept:
            return []
        kept = self._kept.pop(request.ordinal)
        if still := [told for told in kept if not self._has_landed(told)]:
            self._kept[request.ordinal] = still
        ripe = [told for told in kept if told not in still]
        for told in ripe:
            told.tell()
        return [told.event.direction for told in ripe]

    def _has_landed(self, told: _Kept) -> bool:
        """Whether the bytes that an event is about are here."""
        if told.event.direction == "prefill":
            return told.request.transfer_state is TransferState.LANDED
        return told.event.part % self._shares < told.request.shares_landed

    # What a receiver can be asked.

    @staticmethod
    def awaits(request: Request, event: CompletionEvent) -> bool:
        """Whether the receiver waits for this event at the moment."""
        if event.direction == "decode":
            queue = request.decode.transfers
            return queue.awaits(request, event.prefill_tp_rank, event.decode_tp_rank)
        return request.prefill.inflight.awaits(request, event.prefill_tp_rank)

    @staticmethod
    def polled_us(request: Request, direction: Direction) -> int:
        """When the receiver last looked at what it was told, -1 when never."""
        if direction == "decode":
            return request.decode.transfers.polled_us
        return request.prefill.inflight.polled_us

    @staticmethod
    def have_polled(request: Request, direction: Direction) -> None:
        """Have the receiver's next poll really made, though it may find nothing to do.

        Decode leaps over polls that change nothing; prefill looks whenever it is woken.
        """
        if direction == "decode":
            request.decode.needs_attention = True

    @staticmethod
    def come_due(request: Request, direction: Direction) -> None:
        """Tell the receiver that everything it waits for should be there by now."""
        if direction == "decode":
            request.decode.transfers.come_due(request)
        else:
            request.prefill.inflight.come_due(request)

    def _decode_beside(self, rank: DecodeRank) -> DecodeRank:
        ranks = self._decodes[rank.instance].ranks
        return ranks[(rank.dp_rank + 1) % len(ranks)]

    def _prefill_beside(self, rank: PrefillRank) -> PrefillRank:
        ranks = self._prefills[rank.instance].ranks
        return ranks[(rank.dp_rank + 1) % len(ranks)]
