"""Puts the lines of SGLang's accounting checks together again.

A check is printed over up to three lines of which only the first has a time and a rank; lines of
other ranks may stand between them. The same check may be printed twice: by the scheduler and by the
process that sees it die, or as a warning and as the error that follows it. So a check waits until
`WAIT_LINES` further lines have gone by, or the log ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from replay.server_lines.crashes import MESSAGE_CHARACTERS
from replay.server_lines.log_line import LinePrefix, LogLine
from replay.server_lines.records import Crash, Observation, Place
from replay.server_lines.sglang_checks import (
    AVAILABLE,
    EVICTABLE,
    PROTECTED,
    SESSION_HELD,
    TOTAL,
    UNCACHED,
    PoolTerms,
    accounted_and_total,
    named_rank,
    pool_terms,
)

#: How far apart the lines of one check, and two prints of one check, may stand.
WAIT_LINES = 64
#: Two prints of one check carry times this close.
SAME_CHECK_S = 2.0

#: Any of these is in every line of a check.
CHECK_WORDS = (
    "eak detected",
    "eak Detected",
    "available_size",
    "available=",
    "avail=",
    "available req slots",
    "evictable_size",
    "evictable=",
    "Mem Check",
    "cur_batch",
)

_LEAK_WORDS = ("eak detected", "eak Detected", "Mem Check")
#: The watchdog prints the pools of a busy scheduler: no check, and no gap.
_WATCHDOG_WORD = "cur_batch"
_WATCHDOG_LINES = 5


@dataclass(slots=True, eq=False)
class OpenCheck:
    """A check that may get further lines."""

    place: Place
    is_raised: bool
    is_busy: bool
    last_line: int
    pools: dict[str, dict[str, int]] = field(default_factory=dict)
    #: The first line of 0.4.x: its `available_size` includes evictable, and two lines follow.
    is_inclusive: bool = False
    #: That size as printed.
    printed_available: int | None = None
    #: Whether the second of those lines, with its own available size, was read.
    is_available_told: bool = False
    #: It broke off after a comma.
    is_wrapped: bool = False
    #: The rank that a line of sglang-jax says its numbers are of.
    named_rank: str = ""
    message: str = ""

    def observations(self) -> list[Observation]:
        """One for each pool with a complete equation."""
        return [
            Observation(
                place=self.place,
                pool=pool,
                available=terms[AVAILABLE],
                evictable=terms.get(EVICTABLE, 0),
                protected=terms.get(PROTECTED, 0),
                session_held=terms.get(SESSION_HELD, 0),
                uncached=terms.get(UNCACHED, 0),
                total=terms[TOTAL],
                busy=self.is_busy,
                raised=self.is_raised,
                printed_available=self.printed_available if pool == "full" else None,
            )
            for pool, terms in self.pools.items()
            if AVAILABLE in terms and TOTAL in terms
        ]

    def records(self) -> list[Observation | Crash]:
        """Its records; without numbers at most a crash."""
        told: list[Observation | Crash] = list(self.observations())
        if not told and self.is_raised:
            told.append(Crash(place=self.place, message=self.message))
        return told

    def is_same_as(self, other: OpenCheck) -> bool:
        """Whether another, later one is this check printed again."""
        if self.pools != other.pools or self.place.instance != other.place.instance:
            return False
        one, two = self.place.rank, other.place.rank
        if one and two and (one != two or self.is_raised == other.is_raised):
            return False
        one_s, two_s = self.place.time_s, other.place.time_s
        return one_s is None or two_s is None or abs(one_s - two_s) <= SAME_CHECK_S

    def merge(self, other: OpenCheck) -> None:
        """Take over what another print of this check says better."""
        better = other.place if other.place.rank and not self.place.rank else self.place
        self.place = replace(better, line=self.place.line)
        self.is_raised |= other.is_raised
        self.is_busy |= other.is_busy


class CheckAssembly:
    """The open checks of one log, oldest first."""

    def __init__(self) -> None:
        self._open: list[OpenCheck] = []
        self._watchdog_line: int | None = None

    def read(self, line: LogLine, prefix: LinePrefix, is_raised: bool) -> OpenCheck | None:
        """Take in a line with one of `CHECK_WORDS`: a check that begins with it, if one does."""
        text = line.text
        if _WATCHDOG_WORD in text:
            self._watchdog_line = line.number
        starts = any(word in text for word in _LEAK_WORDS)
        pools = pool_terms(text)
        if "skipped" in text or not (starts or pools):
            return None
        if not starts and self._continues(line, prefix, pools):
            return None
        is_raised = is_raised or self._is_raised_for_ranks(line)
        if not starts and not any(terms.is_complete for terms in pools):
            return None
        if not starts and self._is_watchdog(line):
            return None
        return self._begin(line, prefix, pools, is_raised)

    def drop(self, check: OpenCheck) -> None:
        """Forget a check that needs no more lines."""
        self._open = [one for one in self._open if one is not check]

    def twin(self, check: OpenCheck) -> OpenCheck | None:
        """A later print of a check, if there is one."""
        return next((one for one in self._open if one is not check and check.is_same_as(one)), None)

    def _begin(
        self, line: LogLine, prefix: LinePrefix, pools: list[PoolTerms], is_raised: bool
    ) -> OpenCheck:
        text = line.text
        engine = "sglang-jax" if "full_avail=" in text else "sglang"
        terms = {pool.pool: pool.terms for pool in pools}
        sums = accounted_and_total(text)
        if sums is not None:
            terms = {"full": self._busy_terms(prefix, *sums)}
        full = terms.get("full", {})
        is_inclusive = "available_size=" in text and AVAILABLE in full and EVICTABLE not in full
        check = OpenCheck(
            place=prefix.place(engine),
            is_raised=is_raised,
            is_busy="Mem Leak Detected" in text
            or "(BUSY)" in text
            or any(one.get(UNCACHED, 0) for one in terms.values()),
            last_line=line.number,
            pools=terms,
            is_inclusive=is_inclusive,
            printed_available=full[AVAILABLE] if is_inclusive else None,
            is_wrapped=text.endswith(","),
            message=text[:MESSAGE_CHARACTERS],
        )
        _name_rank(check, named_rank(text))
        self._open.append(check)
        return check

    def _continues(self, line: LogLine, prefix: LinePrefix, pools: list[PoolTerms]) -> bool:
        """Whether an open check took in a line without words of its own."""
        named = named_rank(line.text)
        candidates = [
            check
            for check in self._open
            if check.place.instance == prefix.instance
            and prefix.rank in ("", check.place.rank)
            and line.number - check.last_line <= WAIT_LINES
            and (not check.pools or check.named_rank == named)
        ]
        taken = False
        for terms in pools:
            for check in candidates:
                if _take(check, terms):
                    _name_rank(check, named)
                    check.last_line = line.number
                    check.is_wrapped = line.text.endswith(",")
                    taken = True
                    break
        return taken

    def _busy_terms(self, prefix: LinePrefix, accounted: int, total: int) -> dict[str, int]:
        """The terms of a busy check: those of the line before it, where it was printed.

        What the sum has more is held by sessions, which that line leaves out.
        """
        for check in reversed(self._open):
            known = check.pools.get("full", {})
            if check.place.instance != prefix.instance or TOTAL in known or AVAILABLE not in known:
                continue
            rest = accounted - sum(known.values())
            if rest >= 0 and prefix.rank in ("", check.place.rank):
                return {**known, SESSION_HELD: known.get(SESSION_HELD, 0) + rest, TOTAL: total}
        return {AVAILABLE: accounted, TOTAL: total}

    def _is_raised_for_ranks(self, line: LogLine) -> bool:
        """Whether a line is of a further rank of an error that lists several."""
        return named_rank(line.text) != "" and any(
            check.is_raised and check.named_rank and line.number - check.last_line <= WAIT_LINES
            for check in self._open
        )

    def _is_watchdog(self, line: LogLine) -> bool:
        last = self._watchdog_line
        return last is not None and line.number - last <= _WATCHDOG_LINES


def _name_rank(check: OpenCheck, named: str) -> None:
    """Give a check the rank that its numbers' line names: one process checks the pools of all."""
    if named and not check.named_rank:
        check.named_rank = named
        check.place = replace(check.place, engine="sglang-jax", rank=named)


def _take(check: OpenCheck, more: PoolTerms) -> bool:
    """Add a continuation's terms to a check, where they belong to it."""
    if more.is_complete:
        if more.pool in check.pools:
            return False
        check.pools[more.pool] = dict(more.terms)
        return True
    known = check.pools.get(more.pool)
    if known is None:
        return False
    if check.is_wrapped:
        known.update({role: value for role, value in more.terms.items() if role not in known})
        return True
    return check.is_inclusive and _take_inclusive(check, known, more.terms)


def _take_inclusive(check: OpenCheck, known: dict[str, int], more: dict[str, int]) -> bool:
    """Add the second or third line of 0.4.x: what is free, then what is evictable.

    Their sum is the first line's `available_size`, which tells the lines of ranks apart.
    """
    if AVAILABLE in more:
        if check.is_available_told or EVICTABLE in known or more[AVAILABLE] > known[AVAILABLE]:
            return False
        check.is_available_told = True
        known[EVICTABLE] = known[AVAILABLE] - more[AVAILABLE]
        known[AVAILABLE] = more[AVAILABLE]
        return True
    if EVICTABLE not in more or more[EVICTABLE] > known.get(AVAILABLE, 0) + known.get(EVICTABLE, 0):
        return False
    if EVICTABLE in known:
        return known[EVICTABLE] == more[EVICTABLE]
    known[EVICTABLE] = more[EVICTABLE]
    known[AVAILABLE] -= more[EVICTABLE]
    return True
