"""Episodes as rows of episodes.parquet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from replay.blame import blame
from replay.episodes import Episode


def episode_rows(run: dict[str, Any], episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    """One row for each, with the columns of `EPISODES_SCHEMA`."""
    return [
        {
            "episode": episode.number,
            "pool": episode.pool,
            "direction": episode.direction,
            "verdict": episode.verdict,
            "growth": episode.growth,
            "blame": blame(run, episode),
            "kinds": ", ".join(f"{kind} {pages}" for kind, pages in episode.kinds.items()),
            "opened_audit": episode.opened_audit,
            "opened_us": episode.opened_us,
            "closed_audit": episode.closed_audit,
            "closed_us": episode.closed_us,
            "widest_audit": episode.widest_audit,
            "gap_tokens": episode.gap_tokens,
            "quiet_gap_tokens": episode.quiet_gap_tokens,
            "owners": len({owner.request_id for owner in episode.owners}),
            "causes": list(episode.cause_numbers),
        }
        for episode in episodes
    ]
