"""The array operations of pools on a CUDA device, where the host runs ahead and never waits.

Transfers are copied on a stream of their own, as a real engine's are, beside what the schedulers
do on the main one. Events order the two; they make one stream wait for the other, never the host:

    main    write source ---o                       o--- read or overwrite the pages
                            |  wait_stream          ^  join_transfers
    side                    o---> gather, xor, put -o
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from replay.pool.arrays import Array
from replay.pool.device_arrays import DeviceArrays


class CudaArrays(DeviceArrays):
    """Torch tensors on a CUDA device; what is asked for is queued on its current stream.

    That must be the same stream throughout: it is the main one.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._is_main_behind = False

    def upload(self, values: npt.NDArray[np.int64]) -> Array:
        """The values as a tensor on the device, copied while the host goes on."""
        # Out of pageable memory the driver may wait for everything queued before it copies,
        # `non_blocking` or not, and torch's sync debug mode does not see that. Torch's allocator
        # of pinned memory is a bounded ring already: a buffer is used again once the copy out of
        # it is done, which is asked of an event, not waited for.
        staged = torch.from_numpy(np.ascontiguousarray(values)).pin_memory()
        return staged.to(self.device, non_blocking=True)

    def transfer(
        self, target: Array, pages: Array, source: Array, source_pages: Array, tag: int
    ) -> None:
        """target[pages] = source[source_pages] ^ tag, on the side stream."""
        # What the main stream was asked for so far comes first: the source's words and the index
        # arrays are written by then, and whoever had the target's pages before has read them.
        self._side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._side):
            super().transfer(target, pages, source, source_pages, tag)
        # Freed on the host before the copy is done, their memory must not be given out until then.
        # What the copy itself allocates is the side stream's, and ordered by it.
        for tensor in (target, pages, source, source_pages):
            tensor.record_stream(self._side)
        self._is_main_behind = True

    def join_transfers(self) -> None:
        """Have the main stream wait for every transfer, on the device."""
        if self._is_main_behind:
            torch.cuda.current_stream(self.device).wait_stream(self._side)
            self._is_main_behind = False
