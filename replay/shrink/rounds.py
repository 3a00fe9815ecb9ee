"""One round after the other until nothing gets smaller any more.

    requests  ->  rules  ->  deployment  ->  requests, one by one  ->  options, lengths, times, names
        ^                                                                         |
        +------------------------ as long as a round has changed anything --------+

Every step depends on the case alone and on nothing that came before, so a case that a whole round
left as it was is left as it is when it is shrunk again.
"""

from __future__ import annotations

from replay.shrink.search import OutOfBudgetError, Search
from replay.shrink.smaller.arrivals import earlier_arrivals
from replay.shrink.smaller.deployment import (
    plainer_engine,
    plainer_options,
    smaller_deployment,
    smaller_together,
)
from replay.shrink.smaller.requests import (
    fewer_pairs,
    fewer_requests,
    plain_names,
    simpler_requests,
)
from replay.shrink.smaller.rules import explicit_rules, fewer_rules, named_requests, simpler_rules

#: A bound that no shrink comes near: each round makes something smaller.
_ROUNDS_MAX = 100

_STEPS = (
    named_requests,
    fewer_requests,
    fewer_rules,
    explicit_rules,
    smaller_together,
    smaller_deployment,
    plainer_engine,
    fewer_requests,
    fewer_rules,
    plainer_options,
    simpler_rules,
    simpler_requests,
    earlier_arrivals,
    fewer_pairs,
    plain_names,
)


def shrink(search: Search) -> bool:
    """Make the case of a search as small as it gets.

    Returns:
        Whether that is minimal: False when the budget came to its end first.
    """
    try:
        for _ in range(_ROUNDS_MAX):
            before = search.case.key()
            for step in _STEPS:
                step(search)
            if search.case.key() == before:
                return True
    except OutOfBudgetError:
        return False
    return False
