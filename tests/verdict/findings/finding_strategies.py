"""Blocks, findings and suppressions as Hypothesis draws them."""

from datetime import date
from pathlib import Path

from hypothesis import strategies as st

from replay.verdict.findings.collect import group
from replay.verdict.findings.finding import NEVER_ENDED, RELEASED_BY_ANOTHER, Block, category_of
from replay.verdict.findings.suppressions import Suppression, Suppressions

KINDS = (
    "held", "stuck", "orphaned", "cache-held", "over-freed", "counter-drift", "stale-write",
    "premature-free", "double-owned", "check-false-alarm", NEVER_ENDED, RELEASED_BY_ANOTHER,
)  # fmt: skip
POOLS = ("decode0/dp0", "decode0/dp1", "decode1/dp0", "prefill0/dp0", "all pools")
FAULTS = ("drop", "delay", "duplicate")
PAGE_SIZE = 64
TODAY = date(2026, 6, 15)


@st.composite
def blocks(draw):
    kind, lasts = draw(st.sampled_from(KINDS)), draw(st.booleans())
    pages = 0 if kind == NEVER_ENDED else draw(st.integers(1, 40))
    if kind == "over-freed":
        pages = -pages
    faults = tuple(sorted(draw(st.sets(st.sampled_from(FAULTS), max_size=2))))
    opened = draw(st.integers(0, 50))
    return Block(
        category=category_of(kind, pages, not lasts),
        kind=kind,
        pool=draw(st.sampled_from(POOLS)),
        request_id=draw(st.sampled_from((None, "r0", "r1", "r2", "batch/1"))),
        pages=pages,
        lasts=lasts,
        faults=faults,
        rules=tuple(f"rule {fault}" for fault in faults),
        opened_us=opened,
        closed_us=None if lasts else opened + draw(st.integers(0, 9)),
        episodes=draw(st.sampled_from(((), (0,), (1,), (1, 2)))),
    )


def grouped(drawn):
    return group(drawn, PAGE_SIZE, lambda mine: f"{len(mine)} blocks")


findings = st.lists(blocks(), max_size=25).map(grouped)


@st.composite
def suppressions(draw):
    """Up to four entries with different names; some expired, some with a bound."""
    entries = []
    for place in range(draw(st.integers(0, 4))):
        keys = {
            "category": st.sampled_from(("stuck", "definitely leaked", "over-freed", "still held")),
            "kind": st.sampled_from(KINDS),
            "pool": st.sampled_from(("decode*", "*/dp0", "prefill0/dp0", "*")),
            "fault": st.lists(st.sampled_from(FAULTS), min_size=1, max_size=3),
            "rule": st.sampled_from(("rule d*", "*")),
            "profile": st.sampled_from(("sglang-*", "hardened")),
            "request": st.sampled_from(("r*", "batch/*", "r1")),
        }
        chosen = draw(st.sets(st.sampled_from(sorted(keys)), min_size=1, max_size=3))
        entry = {key: draw(keys[key]) for key in sorted(chosen)}
        if draw(st.booleans()):
            entry["pages_max"] = draw(st.integers(0, 60))
        expires = draw(st.sampled_from(("2026-06-14", "2026-06-15", "2030-01-01")))
        entries.append(
            Suppression(name=f"s{place}", reason="known", expires=expires, **entry)  # type: ignore[arg-type]
        )
    return Suppressions(Path("accepted.toml"), tuple(entries), (None,) * len(entries))
