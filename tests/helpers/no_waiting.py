"""What would make the host wait for a CUDA device, found on whatever device a test runs on.

Torch tells a dispatch mode of every operation before it is carried out. On CPU tensors the mode sees
all that wait by nature (`item`, `nonzero`, a boolean mask); `tolist` and `numpy` it does not see
there, since nothing is copied. On the meta device, where tensors have no values, these raise by
themselves, and every copy to the host is an operation.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from replay.pool.device_counter import DeviceCounter
from replay.pool.ledger import PageLedger
from replay.watch.contents import ContentOracle
from replay.watch.page_map import Snapshot

#: The places that say they wait. All are audits, the end of a replay, or the oracle's bounded queue
#: running full.
WAITING_PLACES = (
    (PageLedger, "violations"),
    (PageLedger, "count_held"),
    (PageLedger, "count_by_owner"),
    (DeviceCounter, "read"),
    (ContentOracle, "flush"),
    (Snapshot, "to_columns"),
)

#: Operations whose result is a host value, or has a size that only the device knows.
_WAITING_OPERATIONS = frozenset(
    f"aten::{name}"
    for name in (
        "_local_scalar_dense",
        "_unique",
        "_unique2",
        "allclose",
        "bincount",
        "equal",
        "is_nonzero",
        "item",
        "masked_select",
        "nonzero",
        "unique_consecutive",
        "unique_dim",
    )
)
#: With a boolean mask among the indices these begin with a `nonzero`.
_INDEXED_OPERATIONS = frozenset(
    f"aten::{name}" for name in ("index", "index_put", "index_put_", "_index_put_impl_")
)


class WaitError(AssertionError):
    """The host would wait for the device, where nothing may."""


class NoWaiting(TorchDispatchMode):
    """Raises `WaitError` on operations that wait; inside `pause()` everything is allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self._pauses = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.operations += 1
        if not self._pauses and (reason := _why_it_waits(func, args, kwargs)):
            raise WaitError(f"{func}: {reason}")
        return func(*args, **kwargs)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Allow waiting."""
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1


def allow_in_waiting_places(
    monkeypatch, allowed: Callable[[], AbstractContextManager[None]]
) -> None:
    """Run every place that says it waits inside the context manager `allowed()`."""

    def wrap(function):
        @wraps(function)
        def wrapped(*args, **kwargs):
            with allowed():
                return function(*args, **kwargs)

        return wrapped

    for owner, name in WAITING_PLACES:
        monkeypatch.setattr(owner, name, wrap(getattr(owner, name)))


def _why_it_waits(func, args, kwargs) -> str | None:
    name = func._schema.name
    if name in _WAITING_OPERATIONS:
        return "its result is known on the device only"
    if name == "aten::repeat_interleave" and kwargs.get("output_size") is None:
        return "the length of its result is known on the device only"
    if name in _INDEXED_OPERATIONS and any(
        index.dtype is torch.bool for index in _tensors(args[1])
    ):
        return "a boolean mask selects as many elements as the device finds"
    if name == "aten::_to_copy":
        return _why_a_copy_waits(args[0], torch.device(kwargs.get("device") or args[0].device))
    if name == "aten::copy_":
        return _why_a_copy_waits(args[1], args[0].device)
    return None


def _why_a_copy_waits(source: torch.Tensor, target: torch.device) -> str | None:
    if source.device.type == target.type:
        return None
    if target.type == "cpu":
        return "it copies to the host"
    if target.type == "cuda" and not source.is_pinned():
        # Not even `torch.cuda.set_sync_debug_mode` sees this one.
        return "the driver may wait for the stream before it copies pageable memory"
    return None


def _tensors(values: Iterable[object]) -> Iterator[torch.Tensor]:
    return (value for value in values if isinstance(value, torch.Tensor))
