"""One example of each fault kind, as `kvreplay faults` shows it and as a plan file takes it."""

from __future__ import annotations

from dataclasses import dataclass

from faults.rule import FaultKind


@dataclass(frozen=True, slots=True)
class Example:
    """A plan of one rule, and what a deployment must have for the rule to act."""

    text: str
    #: Profile fields as given to `--set`.
    needs: tuple[str, ...] = ()


#: Several TP ranks a decode DP rank, so that a transfer has several completions.
_SEVERAL_RANKS = ("decode_dp=1",)

FAULT_EXAMPLES: dict[FaultKind, Example] = {
    "drop": Example(
        """\
[[rule]]
fault = "drop"
direction = "prefill"        # acknowledgements; completions if left out
probability = 0.02
"""
    ),
    "delay": Example(
        """\
[[rule]]
fault = "delay"
occurrences = [1, 10, 100]   # the 1st, 10th and 100th completion of all
delay_us = { uniform = [100_000, 2_000_000] }
"""
    ),
    "duplicate": Example(
        """\
[[rule]]
fault = "duplicate"
probability = 0.05
copies = 2
copy_delay_us = [10_000, 500_000]
"""
    ),
    "reorder": Example(
        """\
[[rule]]
fault = "reorder"
window_us = 200_000
"""
    ),
    "misroute": Example(
        """\
[[rule]]
fault = "misroute"
to = "rank"                  # the next DP rank; or "kind", or "room"
probability = 0.02
"""
    ),
    "early": Example(
        """\
[[rule]]
fault = "early"
early_us = 40_000
probability = 0.05
""",
        ("transfer_us=50000",),
    ),
    "partial": Example(
        """\
[[rule]]
fault = "partial"
keep = 1                     # of as many completions as a transfer has
probability = 0.02
""",
        _SEVERAL_RANKS,
    ),
    "fail": Example(
        """\
[[rule]]
fault = "fail"
burst = { length_us = 500_000, every_us = 5_000_000, hits = "all" }
"""
    ),
    "stale": Example(
        """\
[[rule]]
fault = "stale"
until = "pages-reused"       # or "room-reused"
delay_us = 5_000
probability = 0.1
"""
    ),
    "abort": Example(
        """\
[[rule]]
fault = "abort"
when = "moving"
delay_us = 1_000             # after it has come into that state
probability = 0.1
"""
    ),
    "timeout": Example(
        """\
[[rule]]
fault = "drop"
probability = 0.05

[[rule]]
fault = "timeout"
when = "landed"              # a completion that was not lost is taken in long before
delay_us = 500_000
"""
    ),
}
