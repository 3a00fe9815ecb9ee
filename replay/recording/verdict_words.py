"""The words of a verdict, which options and files are checked against; nothing is imported for them."""

from typing import Literal

#: What a verdict can be.
VerdictName = Literal["clean", "transient", "persistent", "inconclusive"]
#: How a gap that stays develops over clean cycles, and how many of them it takes to tell.
GrowthName = Literal["one-off", "growing"]
GROWTH_CYCLES_MIN = 3
#: What is wrong with pages: those of a gap, then those of which no count shows anything.
KindName = Literal[
    "held",
    "stuck",
    "orphaned",
    "cache-held",
    "over-freed",
    "counter-drift",
    "stale-write",
    "premature-free",
    "double-owned",
    "check-false-alarm",
]
