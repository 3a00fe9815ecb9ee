"""The router in front of the pair: the instance and DP rank of each request.

Requests are distributed round-robin, by arrival number. In sglang the prefill DP rank follows from
the bootstrap room (`room % prefill_dp`; 0.4.6.post4, `disaggregation/mooncake/conn.py`); rooms are
numbered like arrivals here, so that is round-robin too.
"""

from __future__ import annotations

from replay.profiles.profile import EngineProfile


def prefill_place(profile: EngineProfile, ordinal: int) -> tuple[int, int]:
    """Return (prefill instance, DP rank) of the request with arrival number `ordinal`."""
    turn, instance = divmod(ordinal, profile.prefill_instances)
    return instance, turn % profile.prefill_dp


def decode_place(profile: EngineProfile, ordinal: int) -> tuple[int, int]:
    """Return (decode instance, DP rank) of the request with arrival number `ordinal`."""
    turn, instance = divmod(ordinal, profile.decode_instances)
    return instance, turn % profile.decode_dp


def decode_places(profile: EngineProfile) -> int:
    """Return the number of arrivals after which every decode rank has received one request."""
    return profile.decode_instances * profile.decode_dp


def prefill_places(profile: EngineProfile) -> int:
    """Return the number of arrivals after which every prefill rank has received one request."""
    return profile.prefill_instances * profile.prefill_dp


def room_of(profile: EngineProfile, ordinal: int) -> int:
    """Return the bootstrap room of the request with arrival number `ordinal`."""
    return ordinal % profile.bootstrap_rooms if profile.bootstrap_rooms else ordinal
