"""The array operations of pools on a CUDA device, where the host runs ahead and never waits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from replay.pool.arrays import Array, DeviceArrays


class CudaArrays(DeviceArrays):
    """Torch tensors on a CUDA device; what is asked for is queued on its current stream."""

    def upload(self, values: npt.NDArray[np.int64]) -> Array:
        """The values as a tensor on the device, copied while the host goes on."""
        # Out of pageable memory the driver may wait for everything queued before it copies,
        # `non_blocking` or not, and torch's sync debug mode does not see that. Torch's allocator
        # of pinned memory is a bounded ring already: a buffer is used again once the copy out of
        # it is done, which is asked of an event, not waited for.
        staged = torch.from_numpy(np.ascontiguousarray(values)).pin_memory()
        return staged.to(self.device, non_blocking=True)
