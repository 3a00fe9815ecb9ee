"""Which device the pools live on, and how they are worked on there."""

from __future__ import annotations

import torch

from replay.errors import ProfileError
from replay.pool.arrays import Arrays, HostArrays
from replay.pool.cuda_arrays import CudaArrays
from replay.pool.device_arrays import DeviceArrays


def choose_device(name: str) -> torch.device:
    """The device called "cpu", "cuda" or "auto" (CUDA where there is one).

    Raises:
        ProfileError: CUDA was asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ProfileError("--device cuda: torch sees no CUDA device here; use --device cpu")
    return torch.device(name)


def arrays_on(device: torch.device) -> Arrays:
    """The operations for a device: host views for the CPU, tensors for the rest."""
    if device.type == "cpu":
        return HostArrays()
    return CudaArrays(device) if device.type == "cuda" else DeviceArrays(device)
