"""Blocks of the gaps that audits have seen: one for each stay of a request's pages in a gap."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from replay.recording.events import EventFact
from replay.recording.tables import NOBODY_NAME
from replay.verdict.blame import blame, first_cause
from replay.verdict.episodes import Episode, Owner
from replay.verdict.findings.categories import category_of
from replay.verdict.findings.finding import Block


def blocks_of_gaps(episodes: Sequence[Episode]) -> tuple[Block, ...]:
    """Every stay of every episode, once, in the order of the episodes."""
    numbers: dict[Owner, list[int]] = {}
    first: dict[Owner, Episode] = {}
    for episode in episodes:
        for owner in episode.owners:
            numbers.setdefault(owner, []).append(episode.number)
            first.setdefault(owner, episode)
    causes = {episode.number: causes_by_request(episode) for episode in episodes}
    return tuple(
        _block(owner, episode, causes[episode.number], tuple(numbers[owner]))
        for owner, episode in first.items()
    )


def causes_by_request(episode: Episode) -> dict[str, tuple[EventFact, ...]]:
    """The events behind an episode, by the request that each is about."""
    found: dict[str, list[EventFact]] = {}
    for event in episode.causes:
        found.setdefault(event.request_id, []).append(event)
    return {request_id: tuple(events) for request_id, events in found.items()}


def _block(
    owner: Owner,
    episode: Episode,
    causes: Mapping[str, tuple[EventFact, ...]],
    numbers: tuple[int, ...],
) -> Block:
    lasts = owner.closed_audit is None
    event = first_cause(_part(episode, (owner,), causes.get(owner.request_id, ())))
    return Block(
        category=category_of(owner.kind, owner.pages, not lasts or owner.can_progress),
        kind=owner.kind,
        pool=owner.pool,
        request_id=None if owner.request_id == NOBODY_NAME else owner.request_id,
        pages=owner.pages,
        lasts=lasts,
        state=owner.state,
        faults=faults_of(event),
        rules=rules_of(event),
        opened_us=owner.opened_us,
        closed_us=owner.closed_us,
        episodes=numbers,
        opened_audit=owner.opened_audit,
        closed_audit=owner.closed_audit,
    )


def faults_of(event: EventFact | None) -> tuple[str, ...]:
    """The faults that rules made of an event; empty for none."""
    return () if event is None or not event.fault else tuple(sorted(event.fault.split(" + ")))


def rules_of(event: EventFact | None) -> tuple[str, ...]:
    """The rules that touched an event, as the recording joins them."""
    return () if event is None or not event.rule else (event.rule,)


def _part(
    episode: Episode, owners: tuple[Owner, ...], causes: tuple[EventFact, ...], page_size: int = 1
) -> Episode:
    """An episode as if only these stays, all open or all over, were in it."""
    tokens = sum(owner.pages for owner in owners) * page_size
    kinds: dict[str, int] = {}
    for owner in owners:
        kinds[owner.kind] = kinds.get(owner.kind, 0) + abs(owner.pages)
    part = dataclasses.replace(
        episode, owners=owners, causes=causes, kinds=kinds, gap_tokens=tokens,
        last_gap_tokens=tokens, opened_us=min(owner.opened_us for owner in owners),
    )  # fmt: skip
    if any(owner.closed_audit is None for owner in owners):
        return dataclasses.replace(part, closed_audit=None, closed_us=None)
    return dataclasses.replace(
        part,
        closed_audit=max(owner.closed_audit or 0 for owner in owners),
        closed_us=max(owner.closed_us or owner.opened_us for owner in owners),
    )


def blame_of_blocks(
    run: dict[str, Any], episodes: Mapping[int, Episode], blocks: Iterable[Block]
) -> str:
    """One sentence about those of the blocks that are in the episode with the most of their pages."""
    pages: dict[int, int] = {}
    keys: dict[int, set[tuple[str, int | None, int]]] = {}
    for block in blocks:
        number = block.episodes[0]
        pages[number] = pages.get(number, 0) + abs(block.pages)
        keys.setdefault(number, set()).add(_key(block))
    number = max(sorted(pages), key=lambda each: pages[each])
    episode = episodes[number]
    owners = tuple(owner for owner in episode.owners if _key_of(owner) in keys[number])
    names = {owner.request_id for owner in owners}
    causes = tuple(event for event in episode.causes if event.request_id in names)
    return blame(run, _part(episode, owners, causes, run["profile"]["page_size"]))


def _key(block: Block) -> tuple[str, int | None, int]:
    return block.request_id or NOBODY_NAME, block.opened_audit, block.pages


def _key_of(owner: Owner) -> tuple[str, int | None, int]:
    return owner.request_id, owner.opened_audit, owner.pages
