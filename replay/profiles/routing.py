"""The router before the pair: which instance and DP rank a request goes to.

Requests are dealt in turn, by the number of their arrival. In sglang the prefill DP
rank follows from the bootstrap room (`room % prefill_dp`; 0.4.6.post4,
`disaggregation/mooncake/conn.py`); rooms are numbered like arrivals here, so that is a turn as well.
"""

from __future__ import annotations

from replay.profiles.profile import EngineProfile


def prefill_place(profile: EngineProfile, ordinal: int) -> tuple[int, int]:
    """(prefill instance, DP rank) of the request that arrives as number `ordinal`."""
    turn, instance = divmod(ordinal, profile.prefill_instances)
    return instance, turn % profile.prefill_dp


def decode_place(profile: EngineProfile, ordinal: int) -> tuple[int, int]:
    """(decode instance, DP rank) of the request that arrives as number `ordinal`."""
    turn, instance = divmod(ordinal, profile.decode_instances)
    return instance, turn % profile.decode_dp


def decode_places(profile: EngineProfile) -> int:
    """How many arrivals it takes until every decode rank has had its turn."""
    return profile.decode_instances * profile.decode_dp


def prefill_places(profile: EngineProfile) -> int:
    """How many arrivals it takes until every prefill rank has had its turn."""
    return profile.prefill_instances * profile.prefill_dp


def room_of(profile: EngineProfile, ordinal: int) -> int:
    """The bootstrap room of the request that arrives as number `ordinal`."""
    return ordinal % profile.bootstrap_rooms if profile.bootstrap_rooms else ordinal
