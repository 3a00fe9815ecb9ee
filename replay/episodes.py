"""Episodes: a pool's audits cut into gaps, with the owners and the events behind each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc

from replay.audit_series import GapSpan
from replay.pool.account import ShareKind


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
    causes: tuple[int, ...]

    @property
    def direction(self) -> str:
        """Either leak (pages are missing) or over-free (there are too many)."""
        return "leak" if self.gap_tokens > 0 else "over-free"

    @property
    def is_open(self) -> bool:
        """Whether no audit closed it."""
        return self.closed_audit is None

    @property
    def could_close(self) -> bool:
        """Whether what is under way at the end could still close it."""
        left = [owner for owner in self.owners if owner.closed_audit is None]
        return self.is_open and bool(left) and all(owner.can_progress for owner in left)


def kind_of(share: str, closed: bool, can_progress: bool) -> str:
    """The kind of a stay in a gap, from what the audit saw."""
    if share == ShareKind.STALLED.value:
        return "held" if closed or can_progress else "stuck"
    if share == ShareKind.DEPARTED.value:
        return "orphaned"
    return share


def find_episodes(
    spans: tuple[GapSpan, ...], owners: list[Owner], faulted: dict[tuple[str, str], list[int]]
) -> tuple[Episode, ...]:
    """Make every stretch of audits with a gap an episode, with its owners and its causes."""
    of_pool: dict[str, list[Owner]] = {}
    for owner in owners:
        of_pool.setdefault(owner.pool, []).append(owner)
    return tuple(
        _episode(number, span, of_pool.get(span.pool, []), faulted)
        for number, span in enumerate(spans)
    )


def _episode(
    number: int,
    span: GapSpan,
    owners: list[Owner],
    faulted: dict[tuple[str, str], list[int]],
) -> Episode:
    mine = tuple(
        owner
        for owner in owners
        if (span.closed_audit is None or owner.opened_audit < span.closed_audit)
        and (owner.closed_audit is None or owner.closed_audit > span.opened_audit)
    )
    kinds: Counter[str] = Counter()
    for owner in mine:
        if span.closed_audit is not None or owner.closed_audit is None:
            kinds[owner.kind] += abs(owner.pages)
    causes = sorted(
        {event for owner in mine for event in faulted.get((span.pool, owner.request_id), ())}
    )
    return Episode(
        number=number,
        **asdict(span),
        owners=mine,
        kinds=dict(sorted(kinds.items())),
        causes=tuple(causes),
    )


def read_owners(table: pa.Table) -> list[Owner]:
    """The rows of owners.parquet, in the order in which they opened."""
    names = (
        "pool",
        "request_id",
        "share",
        "pages",
        "opened_audit",
        "opened_us",
        "closed_audit",
        "can_progress",
    )
    columns = [table[name].to_pylist() for name in names]
    rows = [Owner(*row) for row in zip(*columns, strict=True)]
    rows.sort(key=lambda owner: (owner.opened_audit, owner.pool, owner.request_id, owner.share))
    return rows


def faulted_events(batches: Iterable[pa.RecordBatch]) -> dict[tuple[str, str], list[int]]:
    """Numbers of the events that a rule touched, by (pool, request); from rows of events.parquet."""
    found: dict[tuple[str, str], list[int]] = {}
    for batch in batches:
        touched = batch.filter(pc.is_valid(batch["rule"]))
        for pool, request_id, event in zip(
            touched["pool"].to_pylist(),
            touched["request_id"].to_pylist(),
            touched["event"].to_pylist(),
            strict=True,
        ):
            found.setdefault((pool, request_id), []).append(event)
    return found
