"""Episodes: a pool's audits cut into gaps, with the owners and the events behind each."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from replay.recording.audits import GapSpan
from replay.recording.events import EventFact
from replay.recording.kinds import DirectionName, ShareKind, VerdictName


@dataclass(frozen=True, slots=True)
class Owner:
    """A stay of one request's pages in a gap, as owners.parquet has it."""

    pool: str
    request_id: str
    share: str
    pages: int
    opened_audit: int
    opened_us: int
    closed_audit: int | None
    can_progress: bool
    #: The request's state when the pages entered the gap, and when they left it.
    state: str
    ended_by: str | None
    closed_us: int | None = None

    @property
    def kind(self) -> str:
        """What it is called: held, stuck, orphaned, cache-held, over-freed or counter-drift."""
        return kind_of(self.share, self.closed_audit is not None, self.can_progress)


@dataclass(frozen=True, slots=True)
class Episode:
    """A gap of one pool, from the audit that opens it to the audit that closes it, in tokens."""

    number: int
    pool: str
    opened_audit: int
    opened_us: int
    closed_audit: int | None
    closed_us: int | None
    widest_audit: int
    gap_tokens: int
    quiet_audit: int | None
    quiet_gap_tokens: int | None
    last_gap_tokens: int
    owners: tuple[Owner, ...]
    kinds: dict[str, int]
    #: How its pool's gap developed over clean cycles; None when that is closed in the end.
    growth: str | None
    #: Number of the last audit of the heal phase.
    healed_audit: int
    #: Events of its owners that a rule touched: those of its own pool where there are any, or else
    #: those of the other side.
    causes: tuple[EventFact, ...]

    @property
    def direction(self) -> DirectionName:
        """Either leak (pages are missing) or over-free (there are too many)."""
        return "leak" if self.gap_tokens > 0 else "over-free"

    @property
    def cause_numbers(self) -> tuple[int, ...]:
        """Numbers of the events behind it; one that was delivered twice counts once."""
        return tuple(sorted({event.event for event in self.causes}))

    @property
    def is_open(self) -> bool:
        """Whether no audit closed it."""
        return self.closed_audit is None

    @property
    def could_close(self) -> bool:
        """Whether work that is under way at the end could still close it."""
        left = [owner for owner in self.owners if owner.closed_audit is None]
        return self.is_open and bool(left) and all(owner.can_progress for owner in left)

    @property
    def closed_too_late(self) -> bool:
        """Whether it was still open when healing ended, and a clean cycle closed it."""
        return (
            self.closed_audit is not None
            and self.opened_audit <= self.healed_audit < self.closed_audit
        )

    @property
    def verdict(self) -> VerdictName:
        """What this gap alone amounts to: transient, persistent or inconclusive."""
        if self.is_open:
            return "inconclusive" if self.could_close else "persistent"
        return "inconclusive" if self.closed_too_late else "transient"

    @property
    def badness(self) -> tuple[bool, bool, int, int]:
        """Greater for a worse one: an open one before a closed one, then the widest, then the first."""
        size_tokens = abs(self.quiet_gap_tokens or 0) or abs(self.gap_tokens)
        return self.is_open and not self.could_close, self.is_open, size_tokens, -self.number

    @property
    def worst_kind(self) -> str:
        """The kind that most of its pages are of."""
        return max(sorted(self.kinds), key=lambda kind: self.kinds[kind], default="counter-drift")


def kind_of(share: str, closed: bool, can_progress: bool) -> str:
    """The kind of a stay in a gap, from what the audit saw."""
    if share == ShareKind.STALLED:
        return "held" if closed or can_progress else "stuck"
    if share == ShareKind.DEPARTED:
        return "orphaned"
    return share


def worst_episode(episodes: Sequence[Episode]) -> Episode | None:
    """The worst episode: an open one before a closed one, then the widest, then the first."""
    return max(episodes, key=lambda each: each.badness, default=None)


def find_episodes(
    spans: Sequence[GapSpan],
    owners: Sequence[Owner],
    faulted: Mapping[str, Sequence[EventFact]],
    growth: Mapping[str, str | None],
    healed_audit: int,
) -> tuple[Episode, ...]:
    """Make every stretch of audits with a gap an episode, with its owners and its causes.

    Args:
        spans: in the order in which the episodes are numbered; those of one pool follow each other.
        owners: of all pools, in the order in which they opened.
        faulted: events that a rule touched, by request.
        growth: of each pool's gap.
        healed_audit: the last audit of the heal phase.
    """
    of_pool: dict[str, deque[Owner]] = {}
    for owner in owners:
        of_pool.setdefault(owner.pool, deque()).append(owner)
    inside: dict[str, list[Owner]] = {pool: [] for pool in of_pool}
    episodes = []
    for number, span in enumerate(spans):
        mine = inside.setdefault(span.pool, [])
        _go_on_to(span, of_pool.get(span.pool, deque()), mine)
        still_open = span.closed_audit is None
        kinds: Counter[str] = Counter()
        for owner in mine:
            if not still_open or owner.closed_audit is None:
                kinds[owner.kind] += abs(owner.pages)
        episodes.append(
            Episode(
                number=number,
                **asdict(span),
                owners=tuple(mine),
                kinds=dict(sorted(kinds.items())),
                growth=growth.get(span.pool) if still_open else None,
                healed_audit=healed_audit,
                causes=_causes(span.pool, mine, faulted),
            )
        )
    return tuple(episodes)


def _go_on_to(span: GapSpan, coming: deque[Owner], inside: list[Owner]) -> None:
    """Make `inside` the stays that overlap the span: those that opened meanwhile, none that is over."""
    while coming and (span.closed_audit is None or coming[0].opened_audit < span.closed_audit):
        inside.append(coming.popleft())
    inside[:] = [
        owner
        for owner in inside
        if owner.closed_audit is None or owner.closed_audit > span.opened_audit
    ]


def _causes(
    pool: str, owners: Sequence[Owner], faulted: Mapping[str, Sequence[EventFact]]
) -> tuple[EventFact, ...]:
    touched = [
        event
        for name in sorted({owner.request_id for owner in owners})
        for event in faulted.get(name, ())
    ]
    nearest = [event for event in touched if event.pool == pool] or touched
    return tuple(sorted(nearest, key=lambda event: (event.event, event.copy)))


def read_owners(table: pa.Table) -> list[Owner]:
    """The rows of owners.parquet, in the order in which they opened."""
    columns = [table[name].to_pylist() for name in Owner.__match_args__]
    rows = [Owner(*row) for row in zip(*columns, strict=True)]
    rows.sort(key=lambda owner: (owner.opened_audit, owner.pool, owner.request_id, owner.share))
    return rows
