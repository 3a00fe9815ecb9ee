"""Which episode of one recording is which of another.

Where both replayed the same trace, an episode is known by its pool and its owners, or else by the
events behind it. Where they did not, nothing but its pool, direction and kind can be compared, and
the first such gap is taken for the first, the second for the second.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from replay.verdict.episodes import Episode

Outcome = Literal["disappeared", "new", "changed", "still there"]
#: In the order in which a reader wants them.
OUTCOMES: tuple[Outcome, ...] = ("new", "changed", "still there", "disappeared")


@dataclass(frozen=True, slots=True)
class Match:
    """An episode of either recording, or one that both have."""

    before: Episode | None
    after: Episode | None

    @property
    def outcome(self) -> Outcome:
        """What became of it."""
        if self.after is None:
            return "disappeared"
        if self.before is None:
            return "new"
        return "still there" if _story(self.before) == _story(self.after) else "changed"

    @property
    def episode(self) -> Episode:
        """The one that is there; the later of two."""
        found = self.after if self.after is not None else self.before
        assert found is not None
        return found


def _story(episode: Episode) -> tuple[object, ...]:
    """What must be equal for a gap to be as it was: its size, how it ended, and of which kinds."""
    return episode.gap_tokens, episode.verdict, tuple(sorted(episode.kinds.items()))


def match_episodes(
    before: Sequence[Episode], after: Sequence[Episode], *, same_trace: bool
) -> tuple[Match, ...]:
    """Pair the episodes of two recordings; each is in exactly one match.

    The order of the two makes no difference but for which is before: what is new one way has
    disappeared the other way.
    """
    pairs: list[tuple[Episode, Episode]] = []
    if same_trace:
        pairs += _best_pairs(before, after, _owner_keys)
        left_before, left_after = _without(before, after, pairs)
        pairs += _best_pairs(left_before, left_after, _cause_keys)
    else:
        pairs += _in_turn(before, after)
    left_before, left_after = _without(before, after, pairs)
    matches = [Match(*pair) for pair in pairs]
    matches += [Match(each, None) for each in left_before]
    matches += [Match(None, each) for each in left_after]
    return tuple(matches)


def _owner_keys(episode: Episode) -> Iterable[object]:
    return {(episode.pool, owner.request_id) for owner in episode.owners}


def _cause_keys(episode: Episode) -> Iterable[object]:
    return {(episode.pool, episode.direction, cause) for cause in episode.cause_numbers}


def _best_pairs(
    before: Sequence[Episode],
    after: Sequence[Episode],
    keys: Callable[[Episode], Iterable[object]],
) -> list[tuple[Episode, Episode]]:
    """Pairs that share most keys first; of equally good ones those that opened closest together."""
    having = defaultdict(list)
    for at, episode in enumerate(after):
        for key in keys(episode):
            having[key].append(at)
    shared: Counter[tuple[int, int]] = Counter()
    for at, episode in enumerate(before):
        for key in keys(episode):
            for other in having.get(key, ()):
                shared[at, other] += 1

    def rank(pair: tuple[int, int]) -> tuple[int, int, int, int]:
        one, two = before[pair[0]], after[pair[1]]
        # Two pairs of one episode never have the same sum, so the order is the same both ways.
        apart_us = abs(one.opened_us - two.opened_us)
        return -shared[pair], one.direction != two.direction, apart_us, sum(pair)

    taken_before: set[int] = set()
    taken_after: set[int] = set()
    found = []
    for one, two in sorted(shared, key=rank):
        if one not in taken_before and two not in taken_after:
            taken_before.add(one)
            taken_after.add(two)
            found.append((before[one], after[two]))
    return found


def _in_turn(before: Sequence[Episode], after: Sequence[Episode]) -> list[tuple[Episode, Episode]]:
    """The first gap of a pool, direction and kind with the first, the second with the second."""
    waiting = defaultdict(list)
    for episode in sorted(after, key=_opening, reverse=True):
        waiting[_likeness(episode)].append(episode)
    found = []
    for episode in sorted(before, key=_opening):
        if others := waiting.get(_likeness(episode)):
            found.append((episode, others.pop()))
    return found


def _likeness(episode: Episode) -> tuple[str, str, str]:
    return episode.pool, episode.direction, episode.worst_kind


def _opening(episode: Episode) -> tuple[int, int]:
    return episode.opened_us, episode.number


def _without(
    before: Sequence[Episode], after: Sequence[Episode], pairs: Sequence[tuple[Episode, Episode]]
) -> tuple[list[Episode], list[Episode]]:
    """What no pair has taken, of either side."""
    ones, twos = {id(one) for one, _ in pairs}, {id(two) for _, two in pairs}
    return (
        [each for each in before if id(each) not in ones],
        [each for each in after if id(each) not in twos],
    )
