"""Episodes: a pool's audits cut into gaps, with the owners and the events behind each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

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
        """Whether something under way at the end could still close it."""
        return self.is_open and any(
            owner.closed_audit is None and owner.can_progress for owner in self.owners
        )


def kind_of(share: str, closed: bool, can_progress: bool) -> str:
    """The kind of a stay in a gap, from what the audit saw."""
    if share == ShareKind.STALLED.value:
        return "held" if closed or can_progress else "stuck"
    if share == ShareKind.DEPARTED.value:
        return "orphaned"
    return share


def find_episodes(
    audits: pa.Table, owners: list[Owner], faulted: dict[tuple[str, str], list[int]]
) -> tuple[Episode, ...]:
    """Cut every pool's audits into episodes, ordered by the audit that opens them."""
    found: list[Episode] = []
    for pool in sorted(pc.unique(audits["pool"]).to_pylist()):
        rows = audits.filter(pc.equal(audits["pool"], pool))
        columns = {name: rows[name].to_numpy() for name in ("audit", "time_us", "gap", "quiet")}
        mine = [owner for owner in owners if owner.pool == pool]
        for start, end in _runs(columns["gap"] != 0):
            found.append(_episode(pool, columns, start, end, mine, faulted))
    found.sort(key=lambda episode: (episode.opened_audit, episode.pool))
    return tuple(_numbered(found))


def _numbered(episodes: list[Episode]) -> list[Episode]:
    return [replace(episode, number=number) for number, episode in enumerate(episodes)]


def _episode(
    pool: str,
    columns: dict[str, npt.NDArray[Any]],
    start: int,
    end: int,
    owners: list[Owner],
    faulted: dict[tuple[str, str], list[int]],
) -> Episode:
    """The episode of rows start .. end, where row `end`, if there is one, closes it."""
    audit, time_us, gap, quiet = (columns[name] for name in ("audit", "time_us", "gap", "quiet"))
    widest = start + int(np.argmax(np.abs(gap[start:end])))
    quiet_rows = np.flatnonzero(quiet[start:end]) + start
    widest_quiet = int(quiet_rows[np.argmax(np.abs(gap[quiet_rows]))]) if len(quiet_rows) else None
    closed = end if end < len(gap) else None
    last_audit = int(audit[closed]) if closed is not None else None
    opened_audit = int(audit[start])
    mine = tuple(
        owner
        for owner in owners
        if (last_audit is None or owner.opened_audit < last_audit)
        and (owner.closed_audit is None or owner.closed_audit > opened_audit)
    )
    kinds: Counter[str] = Counter()
    for owner in mine:
        if closed is not None or owner.closed_audit is None:
            kinds[owner.kind] += abs(owner.pages)
    causes = sorted(
        {event for owner in mine for event in faulted.get((pool, owner.request_id), ())}
    )
    return Episode(
        number=0,
        pool=pool,
        opened_audit=opened_audit,
        opened_us=int(time_us[start]),
        closed_audit=last_audit,
        closed_us=int(time_us[closed]) if closed is not None else None,
        widest_audit=int(audit[widest]),
        gap_tokens=int(gap[widest]),
        quiet_audit=int(audit[widest_quiet]) if widest_quiet is not None else None,
        quiet_gap_tokens=int(gap[widest_quiet]) if widest_quiet is not None else None,
        last_gap_tokens=int(gap[end - 1]),
        owners=mine,
        kinds=dict(sorted(kinds.items())),
        causes=tuple(causes),
    )


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches of True as (start, end), end exclusive."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


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


def faulted_events(events: pa.Table) -> dict[tuple[str, str], list[int]]:
    """Event numbers that a rule touched, by (pool, request)."""
    touched = events.filter(pc.is_valid(events["rule"]))
    found: dict[tuple[str, str], list[int]] = {}
    for pool, request_id, event in zip(
        touched["pool"].to_pylist(),
        touched["request_id"].to_pylist(),
        touched["event"].to_pylist(),
        strict=True,
    ):
        found.setdefault((pool, request_id), []).append(event)
    return found
