"""Every exception of the project, drawn once.

    ValueError                          the input is wrong; the command line exits with 2
      traces.errors.TraceError          a trace file, or a log to import
      faults.rule.PlanError           a fault plan or shortcut
      replay.errors.ProfileError        an engine profile, its topology or a --set override
      replay.errors.ClockError          times that add up to more than a recording can hold
      replay.errors.DeviceError         a device with too little memory for the pools
      replay.errors.RecordingError      a recording directory that cannot be read or written
      replay.errors.MatrixError         a matrix file, its directory, or how it is to be run
      replay.errors.AllocatorError      a user's allocator that gives no pages of its pool
      replay.errors.ShrinkError         a recording that cannot be shrunk, or a place for the result
      replay.errors.NoSuchGapError      no set of requests makes the gap that was asked for
      replay.errors.LogError            a server's log that cannot be read
      replay.errors.SuppressionError    a file of accepted findings
      traces.errors.OutputError         a place that cannot be written, or is not ours to replace
    RuntimeError
      replay.errors.ReplayError         the replay itself is broken; the command line exits with 4
        replay.errors.InvariantError    two sides of an equation differ; the message shows both
        replay.errors.BoundExceededError a loop or queue outgrew its bound
      replay.errors.CellTimeoutError    a cell of a matrix used up its time; it becomes its result

`traces` and `faults` know nobody, so their errors live with them and meet the others only in
`ValueError`; everything a user can mend is in that upper half.
"""

from faults.rule import PlanError
from traces.errors import OutputError, TraceError


class ProfileError(ValueError):
    """An engine profile is unknown, inconsistent, or overridden with a value it cannot take."""


class ClockError(ValueError):
    """Times of a trace, a profile and a plan add up to more than a recording can hold."""


class DeviceError(ValueError):
    """A device has too little memory for the pools of a profile."""


class RecordingError(ValueError):
    """A recording directory is missing, incomplete or cannot be written."""


class NoSuchGapError(ValueError):
    """No set of requests and faults makes the gap that was asked for."""


class LogError(ValueError):
    """A server's log is missing, is no file, or cannot be read."""


class SuppressionError(ValueError):
    """A file of accepted findings is missing, or has a key or value that it must not have."""


class ShrinkError(ValueError):
    """A recording has nothing to shrink, or its result cannot be put where it was asked for."""


class AllocatorError(ValueError):
    """A user's allocator gave what nothing can be made of: too few pages, or none of its pool."""


class MatrixError(ValueError):
    """A matrix file is wrong, a matrix directory cannot be used, or an executor cannot be reached."""


class ReplayError(RuntimeError):
    """The replay broke its own rules: a defect of kvreplay, not of the input."""


class InvariantError(ReplayError):
    """Two sides of an equation that must agree do not; the message shows both."""


class BoundExceededError(ReplayError):
    """A loop or a queue outgrew the bound that it can never reach in a correct replay."""


class CellTimeoutError(RuntimeError):
    """A cell of a matrix used up its time; it becomes the cell's result."""


#: What a user can mend: reported as one sentence with exit code 2.
USER_ERRORS = (
    TraceError,
    PlanError,
    ProfileError,
    ClockError,
    DeviceError,
    RecordingError,
    MatrixError,
    AllocatorError,
    NoSuchGapError,
    LogError,
    ShrinkError,
    SuppressionError,
    OutputError,
)
