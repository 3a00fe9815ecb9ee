"""The numbers in SGLang's accounting checks, by their grammar: key=value terms of one pool each.

    available_size=35244, max_total_num_token=42308                                    2024
    available_size=1, protected_size=0, self.max_total_num_tokens=3                    0.4.x, first of three lines
    self.max_total_num_tokens=3, available_size=1, evictable_size=1, protected_size=0  0.5.3
    full_available_size=1, full_evictable_size=1, self.token_to_kv_pool_allocator.size=3, ...
    [swa] total=3, available=1, evictable=1, protected=0, session_held=0, uncached=0   0.5.x
    available_size=3756, session_held=0, total_size=3757                               req_to_token
    full_avail=416800, full_evict=96, full_protected=0 (expected 416928)               sglang-jax
    [dp=0] expected=1085, avail=1084, evict=0, protected=0                             sglang-jax, a line a rank

Until 0.5.2 the first line's `available_size` includes what the cache could evict: a line that does
not say how much is evictable. Sources: sglang 0.4.6.post4 `managers/scheduler.py` (check_memory),
0.5.23 `managers/scheduler_components/invariant_checker.py`, and the lines of public reports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

#: `self.tree_cache.evictable_size()=0`: a dotted name, perhaps called, and a whole number.
_TERM = re.compile(r"(?<![\w.])([A-Za-z_][\w.]{0,99}?)(?:\(\))?=(-?\d{1,18})(?!\w|\.\d)")
#: 2024's words for request slots.
_SLOTS = re.compile(r"available req slots=(\d{1,18}), total slots=(\d{1,18})")
#: 0.5.6's busy check, whose terms stand in the line before it.
_ACCOUNTED = re.compile(r"total_tokens=(-?\d{1,18}) vs self\.max_total_num_tokens=(-?\d{1,18})")
_EXPECTED = re.compile(r"\(expected (-?\d{1,18})\)")
_NAMED_RANK = re.compile(r"\[dp=(\d{1,6})\]")
_BRACKET = re.compile(r"\[(full|swa|mamba|mamba-active|mamba-int8)\]")
#: In the order in which a key is asked for them.
_POOL_WORDS = ("swa", "mamba", "full")
REQUEST_SLOTS = "req_to_token"
#: Until early 2025 the request slots were called the memory pool.
_SLOT_WORDS = ("req_to_token_pool", "Memory pool leak")
_TOTALS = (
    "total",
    "total_size",
    "max_total_num_tokens",
    "max_total_num_token",
    "tokens_per_layer",
    "expected",
)

_WARNED_AT = "/sgl-workspace/sglang/python/sglang/srt/managers/scheduler.py"

AVAILABLE, EVICTABLE, PROTECTED, SESSION_HELD, UNCACHED, TOTAL = (
    "available",
    "evictable",
    "protected",
    "session_held",
    "uncached",
    "total",
)


@dataclass(slots=True)
class PoolTerms:
    """What one line says of one pool."""

    pool: str
    terms: dict[str, int] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether it has both sides of the equation."""
        return AVAILABLE in self.terms and TOTAL in self.terms


def accounted_and_total(text: str) -> tuple[int, int] | None:
    """Both sides of a busy check that prints only their sums."""
    found = _ACCOUNTED.search(text)
    return None if found is None else (int(found[1]), int(found[2]))


def named_rank(text: str) -> str:
    """The rank that a line of sglang-jax's check is about, such as "DP0"; empty for other lines."""
    found = _NAMED_RANK.search(text)
    return "" if found is None else f"DP{int(found[1])}"


def pool_terms(text: str) -> list[PoolTerms]:
    """The pools of a line and their terms, in its order; empty for a line without any."""
    if found := _SLOTS.search(text):
        return [PoolTerms(REQUEST_SLOTS, {AVAILABLE: int(found[1]), TOTAL: int(found[2])})]
    pools: dict[str, PoolTerms] = {}
    for bracket, part in _parts(text):
        for key, value in _TERM.findall(part):
            role = _role(key)
            if role is None:
                continue
            pool = bracket or _pool(key, text)
            pools.setdefault(pool, PoolTerms(pool)).terms.setdefault(role, int(value))
        if pools and (found := _EXPECTED.search(part)):
            list(pools.values())[-1].terms.setdefault(TOTAL, int(found[1]))
    return list(pools.values())


def _parts(text: str) -> list[tuple[str, str]]:
    """The text cut at `[full]`, `[swa]` and the like, each piece with its pool."""
    cuts = list(_BRACKET.finditer(text))
    if not cuts:
        return [("", text)]
    ends = [cut.start() for cut in cuts[1:]] + [len(text)]
    parts = [("", text[: cuts[0].start()])]
    parts += [(cut[1], text[cut.end() : end]) for cut, end in zip(cuts, ends, strict=True)]
    return parts


def _pool(key: str, text: str) -> str:
    """The pool that a key names, or its line."""
    for word in _POOL_WORDS:
        if word in key:
            return word
    is_slots = any(words in text for words in _SLOT_WORDS) or key.endswith("total_size")
    return REQUEST_SLOTS if is_slots else "full"


def _role(key: str) -> str | None:
    """The term that a key stands for; None if it is not part of the equation."""
    name = key.rsplit(".", 1)[-1]
    if "avail" in name:
        return AVAILABLE
    if "evict" in name:
        return EVICTABLE
    for role in (PROTECTED, SESSION_HELD, UNCACHED):
        if role in name:
            return role
    if name in _TOTALS or name.endswith("_tokens_per_layer"):
        return TOTAL
    # The size of an allocator or a pool; a bare `size=` belongs to something else.
    return TOTAL if name == "size" and "." in key else None


def python_warning(message: str, line: int) -> str:
    """A check of 0.4.6.post3 as Python's `warnings` print it: without time and rank."""
    return f"{_WARNED_AT}:{line}: UserWarning: {message}\n  warnings.warn(msg)"
