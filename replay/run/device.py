"""The device of the pools, and its array operations."""

from __future__ import annotations

import torch

from replay.errors import ProfileError
from replay.pool.arrays import Arrays, HostArrays
from replay.pool.cuda_arrays import CudaArrays
from replay.pool.device_arrays import DeviceArrays


def choose_device(name: str) -> torch.device:
    """Return the device "cpu", "cuda" or "auto" (CUDA if available).

    Raises:
        ProfileError: CUDA was requested but is not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ProfileError("--device cuda: torch sees no CUDA device here; use --device cpu")
    return torch.device(name)


def arrays_on(device: torch.device) -> Arrays:
    """Return the array operations for a device: host views for the CPU, tensors for others."""
    if device.type == "cpu":
        return HostArrays()
    return CudaArrays(device) if device.type == "cuda" else DeviceArrays(device)
