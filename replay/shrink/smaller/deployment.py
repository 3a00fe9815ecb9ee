"""A smaller deployment, an engine closer to its profile, and options closer to their defaults."""

from __future__ import annotations

import dataclasses

from replay.errors import ProfileError
from replay.recording.kinds import GROWTH_CYCLES_MIN
from replay.run.session import SessionOptions
from replay.shrink.case import Case
from replay.shrink.search import Search, keep_few
from replay.shrink.smaller.numbers import simpler_counts, simpler_times
from replay.shrink.smaller.requests import cut

_TOPOLOGY = (
    "prefill_instances",
    "decode_instances",
    "prefill_tp",
    "prefill_dp",
    "decode_tp",
    "decode_dp",
)
_POOLS = ("total_tokens", "prefill_total_tokens")
#: Fields that get small, where every other goes back to what the profile has.
_SIZES = (*_TOPOLOGY, *_POOLS)


def smaller_deployment(search: Search) -> None:
    """Fewer instances and ranks, then smaller pools."""
    ones = dict.fromkeys(_TOPOLOGY, 1)
    if not _try(search, **ones):
        _try(search, prefill_instances=1, decode_instances=1)
        for field in _TOPOLOGY:
            _smaller(search, field)
        # The TP ranks of both sides often have to change together.
        for ranks in (1, 2, 4):
            engine = search.case.engine()
            if max(engine.prefill_tp, engine.decode_tp) > ranks:
                smaller = {
                    "prefill_tp": min(ranks, engine.prefill_tp),
                    "prefill_dp": 1,
                    "decode_tp": min(ranks, engine.decode_tp),
                    "decode_dp": 1,
                }
                _try(search, **smaller)
    smaller_pools(search)


def smaller_together(search: Search) -> None:
    """Pools and prompts that hold each other up, halved together again and again."""
    while True:
        case = search.case
        engine = case.engine()
        pools = {
            field: max(1, getattr(engine, field) // engine.page_size // 2) * engine.page_size
            for field in _POOLS
        }
        halves = tuple(
            cut(case, cut(case, row, "input_tokens", -(-row.input_tokens // 2)), "output_tokens", n)
            for row in case.requests
            for n in [-(-row.output_tokens // 2)]
        )
        if not search.accepts(dataclasses.replace(case.with_fields(**pools), requests=halves)):
            return


def smaller_pools(search: Search) -> None:
    """Pools of fewer pages: both alike, then each."""
    engine = search.case.engine()
    page_size = engine.page_size
    for tokens in _pool_sizes(max(engine.total_tokens, engine.prefill_total_tokens), page_size):
        both = {field: min(tokens, getattr(engine, field)) for field in _POOLS}
        if _try(search, **both):
            break
    for field in _POOLS:
        for tokens in _pool_sizes(getattr(search.case.engine(), field), page_size):
            if _try(search, **{field: tokens}):
                break


def _pool_sizes(tokens: int, page_size: int) -> list[int]:
    """Smaller pools of whole pages, smallest first."""
    return [pages * page_size for pages in simpler_counts(tokens // page_size)]


def plainer_engine(search: Search) -> None:
    """Have as few fields and bugs as possible differ from the profile."""
    keep_few(search, lambda: search.case.defects, lambda names: _with_defects(search.case, names))
    keep_few(search, lambda: _plain_settings(search.case), lambda left: _left(search.case, left))
    _default_page_size(search)
    for name, value in _plain_settings(search.case):
        base = getattr(search.case.base(), name)
        if isinstance(value, bool) or not isinstance(value, int) or base is None:
            continue
        simpler = simpler_times(value, 1) if name.endswith("_us") else simpler_counts(value)
        # Only towards the default, which is smaller or was not to be had.
        any(_try(search, **{name: number}) for number in simpler if number > base)


def _plain_settings(case: Case) -> tuple[tuple[str, object], ...]:
    return tuple(pair for pair in case.settings if pair[0] not in (*_SIZES, "page_size"))


def _left(case: Case, left: object) -> Case:
    """The case with these plain settings only."""
    wanted = set(left)  # type: ignore[call-overload]
    settings = tuple(
        pair
        for pair in case.settings
        if pair in wanted or pair[0] in _SIZES or pair[0] == "page_size"
    )
    return dataclasses.replace(case, settings=settings)


def _with_defects(case: Case, names: object) -> Case:
    """The case with these bugs only; fields that are set stay as they are."""
    left = set(names)  # type: ignore[call-overload]
    return case.without_defects([name for name in case.defects if name not in left])


def _default_page_size(search: Search) -> None:
    """The profile's page size, with pools of as many pages as before."""
    engine, base = search.case.engine(), search.case.base()
    if engine.page_size != base.page_size:
        pools = {
            field: getattr(engine, field) // engine.page_size * base.page_size for field in _POOLS
        }
        _try(search, page_size=base.page_size, **pools)


def _smaller(search: Search, field: str) -> None:
    any(_try(search, **{field: n}) for n in simpler_counts(getattr(search.case.engine(), field)))


def _try(search: Search, **fields: int) -> bool:
    """Try some fields set, unless they do not fit together."""
    try:
        candidate = search.case.with_fields(**fields)
    except ProfileError:
        return False
    return search.accepts(candidate)


def plainer_options(search: Search) -> None:
    """Options at their defaults: no repeats but what growth needs, and no seed that matters."""
    defaults = SessionOptions()
    for repeats in (0, GROWTH_CYCLES_MIN):
        if repeats < search.case.options.repeats and search.accepts(
            search.case.with_options(repeats=repeats)
        ):
            break
    for name in ("every_step", "stop_on_engine_error", "heal_budget_us", "seed"):
        search.accepts(search.case.with_options(**{name: getattr(defaults, name)}))
    heal_us = search.case.options.heal_budget_us
    if heal_us > defaults.heal_budget_us:
        any(
            search.accepts(search.case.with_options(heal_budget_us=us))
            for us in simpler_times(heal_us, defaults.heal_budget_us)
        )
