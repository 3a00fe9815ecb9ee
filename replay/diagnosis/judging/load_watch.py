"""What status lines and scraped metrics of one rank and pool add up to, in bounded memory.

Four questions are kept an answer to, whatever the number of lines: what is in use when nothing runs
(`idle`), whether requests wait while nothing runs (`waiting`), whether the number of transfers ever
gets down to what it was (`floor`), and how full the pool is while it works.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replay.diagnosis.judging.gap_run import GapRun, seconds_between
from replay.diagnosis.judging.transfer_floor import TransferFloor, in_transfer
from replay.server_lines.records import Load, Place

#: From here on a pool is called full.
FULL_USAGE = 0.95
#: A usage that has come down to this shows that the pool was only busy.
RELAXED_USAGE = 0.8
#: Status lines come every second or so while an engine works; this long without one, it is idle.
PAUSE_S = 5.0
#: Windows of lines with their minimum usage; neighbours are merged when there are more.
_WINDOWS_MAX = 32


@dataclass(slots=True)
class Window:
    """The least that was in use over some lines."""

    used: float
    lines: int = 1


@dataclass(slots=True)
class LoadWatch:
    """A digest of the loads of one rank and pool since its engine started."""

    lines: int = 0
    last: Load | None = None
    idle: GapRun = field(default_factory=GapRun)
    #: Requests that wait while nothing runs, until none waits.
    waiting: GapRun = field(default_factory=GapRun)
    #: What was in use along that run.
    waiting_usage: GapRun = field(default_factory=GapRun)
    floor: TransferFloor = field(default_factory=TransferFloor)
    #: Where it was last seen idle with nothing in use, and lines since.
    idle_at: Place | None = None
    lines_since_idle: int = 0
    #: Times that it paused and worked again, with nothing in transfer any more.
    pauses: int = 0
    running_max: int = 0
    full_lines: int = 0
    #: Since the pool was last full: the least usage.
    usage_min_since_full: float | None = None
    windows: list[Window] = field(default_factory=list)
    _lines_per_window: int = 1
    #: What one decoded step adds for each request, while nothing else happens; None once it did.
    step: float | None = None
    steady: bool = True

    def add(self, load: Load) -> None:
        """Take the next line."""
        self._note_step(load)
        self._note_pause(load)
        self.lines += 1
        self.last = load
        self.running_max = max(self.running_max, load.running or 0)
        self._note_usage(load)
        self._note_window(load)
        self.floor.add(load)
        self.lines_since_idle += 1
        self._note_quiet(load)

    def _note_quiet(self, load: Load) -> None:
        used, waiting = in_use(load), waiting_requests(load)
        if load.scraped:
            self._note_work()
        if not waiting:
            self.waiting.close(load.place)
            self.waiting_usage.close(load.place)
        if _is_before_prefill(load):
            # Printed before the batch takes its pages, and to two digits.
            self._note_idle(load.place)
        elif load.running is None or load.running or load.prefilling:
            self._note_work()
            if used is not None and used < self.idle.last:
                # What runs uses some of it: part of what was in use at idle has come back.
                self.idle.close(load.place)
        elif waiting:
            self.waiting.add(waiting, load.place)
            self.waiting_usage.add(used or 0, load.place)
        elif used is not None:
            self.idle.add(used, load.place)
            if not used:
                self._note_idle(load.place, counted=True)

    def _note_work(self) -> None:
        for run in (self.idle, self.waiting, self.waiting_usage):
            run.note_work()

    def _note_idle(self, place: Place, counted: bool = False) -> None:
        if not counted:
            self.idle.add(0, place)
        self.idle_at = place
        self.lines_since_idle = 0

    def _note_pause(self, load: Load) -> None:
        if self.last is None or in_transfer(load):
            return
        passed_s = seconds_between(self.last.place, load.place)
        self.pauses += passed_s is not None and passed_s >= PAUSE_S

    def _note_usage(self, load: Load) -> None:
        if load.usage is None:
            return
        if load.usage >= FULL_USAGE:
            self.full_lines += 1
            self.usage_min_since_full = load.usage
        elif self.usage_min_since_full is not None:
            self.usage_min_since_full = min(self.usage_min_since_full, load.usage)

    def _note_window(self, load: Load) -> None:
        used = in_use(load)
        if used is None:
            return
        if self.windows and self.windows[-1].lines < self._lines_per_window:
            window = self.windows[-1]
            window.lines += 1
            window.used = min(window.used, used)
            return
        self.windows.append(Window(used))
        if len(self.windows) > _WINDOWS_MAX:
            self.windows = [
                _merged(self.windows[each : each + 2]) for each in range(0, len(self.windows), 2)
            ]
            self._lines_per_window *= 2

    def _note_step(self, load: Load) -> None:
        before = self.last
        if before is None or not self.steady:
            return
        if load.used_tokens is None or before.used_tokens is None or not load.running:
            self.steady = False
            return
        step = (load.used_tokens - before.used_tokens) / load.running
        if load.running != before.running or step < 0 or self.step not in (None, step):
            self.steady = False
        self.step = step


def _merged(windows: list[Window]) -> Window:
    return Window(min(each.used for each in windows), sum(each.lines for each in windows))


def in_use(load: Load) -> float | None:
    """Usage in tokens where the line has them, else as a share of the pool."""
    return load.usage if load.used_tokens is None else load.used_tokens


def waiting_requests(load: Load) -> int:
    """Requests that wait for something, in whichever queue."""
    counts = (
        load.queued,
        load.prealloc,
        load.transferring,
        load.inflight,
        load.bootstrapping,
        load.retracted,
    )
    known = sum(count or 0 for count in counts)
    return known or int(bool(load.preallocated_usage))


def is_disaggregated(load: Load) -> bool:
    """Whether the engine has a queue of transfers at all."""
    counts = (load.transferring, load.prealloc, load.inflight, load.bootstrapping)
    return load.preallocated_usage is not None or any(count is not None for count in counts)


def _is_before_prefill(load: Load) -> bool:
    """The first batch of a prefill instance after a pause, with nothing in use yet."""
    if not load.prefilling or load.running or waiting_requests(load):
        return False
    return load.inflight is not None and load.usage == 0


def amount(value: float, watch: LoadWatch) -> str:
    """An amount of usage in the unit of the lines."""
    last = watch.last
    if last is not None and last.used_tokens is not None:
        return f"{value:.0f} tokens"
    return f"{value:.1%} of the pool"
