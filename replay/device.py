"""Which device the pools live on."""

from __future__ import annotations

import torch

from replay.errors import ProfileError


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
