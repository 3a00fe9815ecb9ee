"""The count oracle: gaps that audits have seen, as a ruling, a worst episode and blocks of findings."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replay.recording.events import EventFact
from replay.recording.reader import Recording
from replay.recording.tables import NOBODY_NAME
from replay.recording.words import counted
from replay.verdict.base import Oracle, Ruling
from replay.verdict.blame import blame, first_cause
from replay.verdict.episodes import Episode, Owner, worst_episode
from replay.verdict.findings.finding import Blamed, Block, category_of, faults_of, rules_of


@dataclass(frozen=True, slots=True)
class Count(Oracle):
    """The episodes of a recording."""

    name = "count"

    episodes: tuple[Episode, ...]

    @property
    def total(self) -> int:
        """Gaps, whether they closed or not."""
        return len(self.episodes)

    @property
    def worst(self) -> Episode | None:
        """The worst episode, None where there is none."""
        return worst_episode(self.episodes)

    @property
    def any_stuck(self) -> bool:
        """Whether nothing could close one of the gaps any more."""
        return any(each.is_open and not each.could_close for each in self.episodes)

    def kinds(self) -> dict[str, int]:
        """Pages by kind: of what is still open, or of everything when nothing is."""
        still_open = [episode for episode in self.episodes if episode.is_open]
        kinds: Counter[str] = Counter()
        for episode in still_open or self.episodes:
            kinds.update(episode.kinds)
        return dict(kinds)

    def ruling(self) -> Ruling | None:
        """A gap that stays is persistent.

        One that only a repeat cycle closed was open when healing ended: too late to count as healed.
        """
        lasting = [each for each in self.episodes if each.is_open or each.closed_too_late]
        if self.any_stuck:
            pages = sum(
                abs(owner.pages)
                for episode in lasting
                for owner in episode.owners
                if owner.closed_audit is None
            )
            count = counted(pages, "page")
            return "persistent", f"{count} still unaccounted for when nothing was left to come"
        if lasting:
            why = "the heal budget ended before what is under way could close the gap"
            return "inconclusive", why
        return None

    def blame(self, recording: Recording) -> str:
        """One sentence about the worst gap, if it did not close in time; empty otherwise.

        Requests that never end are not to be put down to a fault that healed.
        """
        worst = self.worst
        if worst is None or not (worst.is_open or worst.closed_too_late):
            return ""
        return blame(recording.run, worst)

    def blocks(self, recording: Recording, in_gaps: Sequence[Block]) -> Blamed:
        """Those in gaps. Their sentence is one about all of a finding: see `blame_of_blocks`."""
        return [(block, "") for block in in_gaps]

    @classmethod
    def objections(cls, summary: Mapping[str, Any]) -> list[str]:
        """A gap that stays or that no fault explains, and an engine that complains."""
        found = []
        if summary["final_gap"]["pools"]:
            found.append(
                f"count: {summary['final_gap']['tokens']} tokens are missing after healing"
            )
        if summary["episodes_unprovoked"]:
            found.append(f"count: {summary['episodes_unprovoked']} gaps that no fault explains")
        if summary["engine_check_fired"]:
            found.append("count: the engine's own check fired")
        return found

    @classmethod
    def ruled(cls, summary: Mapping[str, Any]) -> str | None:
        """A gap that closed is no cause of a persistent verdict."""
        stays = summary["episodes_open"] or set(summary["kinds"]) & {"stuck", "orphaned"}
        return cls.name if stays else None

    def in_gaps(self) -> tuple[Block, ...]:
        """Every stay of a request's pages in a gap, once, in the order of the episodes."""
        numbers: dict[Owner, list[int]] = {}
        first: dict[Owner, Episode] = {}
        for episode in self.episodes:
            for owner in episode.owners:
                numbers.setdefault(owner, []).append(episode.number)
                first.setdefault(owner, episode)
        causes = {episode.number: _causes_by_request(episode) for episode in self.episodes}
        return tuple(
            _block(owner, episode, causes[episode.number], tuple(numbers[owner]))
            for owner, episode in first.items()
        )


def _causes_by_request(episode: Episode) -> dict[str, tuple[EventFact, ...]]:
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
    """One sentence about the blocks in the episode that has the most of their pages."""
    pages: dict[int, int] = {}
    keys: dict[int, set[tuple[str, int | None, int]]] = {}
    for block in blocks:
        number = block.episodes[0]
        pages[number] = pages.get(number, 0) + abs(block.pages)
        key = (block.request_id or NOBODY_NAME, block.opened_audit, block.pages)
        keys.setdefault(number, set()).add(key)
    number = max(sorted(pages), key=lambda each: pages[each])
    episode = episodes[number]
    owners = tuple(
        owner
        for owner in episode.owners
        if (owner.request_id, owner.opened_audit, owner.pages) in keys[number]
    )
    names = {owner.request_id for owner in owners}
    causes = tuple(event for event in episode.causes if event.request_id in names)
    return blame(run, _part(episode, owners, causes, run["profile"]["page_size"]))
