"""The array operations of pools on a CUDA device, where the host runs ahead without waiting.

As in a real engine, transfers are copied on a separate stream, in parallel to the schedulers' work
on the main stream. Events order the two streams; they make one stream wait for the other, never the
host:

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
        # From pageable memory, the driver may wait for everything in the queue before it copies,
        # even with `non_blocking`, and torch's sync debug mode does not detect that. Torch's
        # allocator of pinned memory is already a bounded ring: a buffer is reused once the copy
        # from it is done, which is checked with an event, without waiting.
        staged = torch.from_numpy(np.ascontiguousarray(values)).pin_memory()
        return staged.to(self.device, non_blocking=True)

    def transfer(
        self, target: Array, pages: Array, source: Array, source_pages: Array, tag: int
    ) -> None:
        """target[pages] = source[source_pages] ^ tag, on the side stream."""
        # The earlier work of the main stream comes first: it has written the source's words and the
        # index arrays, and the previous owners of the target's pages have read them.
        self._side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._side):
            super().transfer(target, pages, source, source_pages, tag)
        # Their memory must not be reused before the copy is done, even if the host frees it earlier.
        # Memory allocated by the copy itself belongs to the side stream, which orders it.
        for tensor in (target, pages, source, source_pages):
            tensor.record_stream(self._side)
        self._is_main_behind = True

    def join_transfers(self) -> None:
        """Make the main stream wait for every transfer, on the device."""
        if self._is_main_behind:
            torch.cuda.current_stream(self.device).wait_stream(self._side)
            self._is_main_behind = False
