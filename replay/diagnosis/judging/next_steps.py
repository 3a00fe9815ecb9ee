"""What to collect next when the lines of a log leave it open: concrete, for the engine at hand.

And the `kvreplay reproduce` line for its numbers: a gap of whole pages in a token pool with nothing
evictable. So evictable, protected and held tokens count as available there, which leaves the gap as it
was; request slots and states of other pools are not pages, and there is no line for them.

Settings: sglang 0.5.23 `srt/environ.py` (SGLANG_ENABLE_STRICT_MEM_CHECK_DURING_IDLE and
..._DURING_BUSY, SGLANG_DISAGGREGATION_WAITING_TIMEOUT), 0.4.6.post4 `managers/scheduler.py`
(check_memory raises whatever is set), vllm 0.33.0 `v1/metrics/loggers.py` (status lines of an idle
engine are DEBUG).
"""

from __future__ import annotations

import shlex

from replay.diagnosis.judging.assessment import Assessment, DiagnosisKind
from replay.diagnosis.judging.page_sizes import likely_page_size
from replay.recording.kinds import GAP_PAGES_MAX
from replay.server_lines.records import TOKEN_POOLS, Observation

_THREE_CHECKS = (
    "let the server go idle at least three times, with traffic in between, and diagnose the longer "
    "log: a gap that stays or grows is persistent, one that closes is transient"
)
_WARN_ONLY = (
    "make the check warn instead of raise: SGLANG_ENABLE_STRICT_MEM_CHECK_DURING_IDLE=0 (0.5.x), "
    "or turn `raise ValueError(msg)` in check_memory into a warning (0.4.6.post4 and later 0.4)"
)
_SGLANG_METRICS = (
    "start with --enable-metrics, scrape while idle, and read it with `kvreplay diagnose "
    "--prometheus FILE`: sglang:num_used_tokens must return to 0"
)
_VLLM_METRICS = (
    "scrape /metrics while idle and read it with `kvreplay diagnose --prometheus FILE`: "
    "vllm:kv_cache_usage_perc must return to 0 when nothing runs or waits"
)
_VLLM_DEBUG = "set VLLM_LOGGING_LEVEL=DEBUG, so that status lines continue while the engine is idle"


def steps_for_gap(observation: Observation, kind: DiagnosisKind) -> tuple[str, ...]:
    """After an accounting line that stands alone."""
    steps = [_THREE_CHECKS]
    if observation.place.engine == "sglang":
        if observation.raised:
            steps.insert(0, _WARN_ONLY)
        steps.append(_SGLANG_METRICS)
    if kind == "check-false-alarm":
        steps.append(
            "stop the traffic and wait for the next check: without waiting requests it is reliable"
        )
    if kind == "counter-drift":
        steps.append(
            "compare `available` with `total` at the next idle check: as long as they are equal, "
            "only the counter is wrong"
        )
    return tuple(steps)


def steps_for_load(engine: str) -> tuple[str, ...]:
    """After status lines that leave it open."""
    steps = [
        "stop the traffic for a few minutes and keep logging: tokens still in use and requests "
        "still queued then are lost"
    ]
    if engine.startswith("vllm"):
        return (*steps, _VLLM_DEBUG, _VLLM_METRICS)
    if engine.startswith("sglang"):
        return (*steps, _SGLANG_METRICS)
    return tuple(steps)


def steps_for_transfers(engine: str) -> tuple[str, ...]:
    """After transfers that timed out, failed or were read late."""
    other = (
        "diagnose the logs of both sides together: `kvreplay diagnose prefill.log decode.log`",
    )
    if engine.startswith("sglang"):
        return (
            *other,
            "watch `#transfer-req` and `#prealloc-req` of the Decode batch lines: a number that "
            "never falls is a lost completion",
            *steps_for_load(engine),
        )
    return (*other, *steps_for_load(engine))


def steps_without_lines() -> tuple[str, ...]:
    """After a log in which nothing was recognised."""
    return (
        "give the scheduler's own log (of the server process, at level INFO), not a client's or a "
        "router's",
        "look for lines such as `Decode batch`, `memory leak detected` (SGLang) or `GPU KV cache "
        "usage` (vLLM) in it",
        "in a scrape of /metrics, look for `sglang:num_used_tokens`, `sglang:token_usage` or "
        "`vllm:kv_cache_usage_perc`, and pass it with --prometheus",
    )


#: Engine -> the profile to take; the others are served by the default of `reproduce`.
_PROFILES = {"vllm": "vllm-0.33", "vllm-ascend": "vllm-0.33"}


def reproduce_line(assessment: Assessment, engine: str) -> str:
    """A line that works when pasted, or an empty one where no replay can make these numbers."""
    shown = assessment.observation
    if assessment.kind == "counter-drift":
        # A counter that is wrong is not a page that is lost.
        return ""
    if shown is not None and shown.pool in TOKEN_POOLS:
        gap, total = shown.gap, shown.total
    elif assessment.stuck_of_total is not None:
        gap, total = assessment.stuck_of_total
    else:
        return ""
    if not gap or total - gap < 0 or total < 1:
        return ""
    page_size = likely_page_size(gap, total)
    if abs(gap) // page_size > GAP_PAGES_MAX:
        return ""
    words: list[object] = ["kvreplay", "reproduce", "--available", total - gap, "--total", total]
    words += ["--page-size", page_size]
    if assessment.verdict == "transient" and gap > 0:
        words += ["--as", "transient"]
    if engine in _PROFILES:
        words += ["--profile", _PROFILES[engine]]
    return shlex.join(map(str, words))
