"""The devices and versions of this machine, and the pools that fit on it.

versions, devices, a profile's pools  ->  a document  ->  `kvreplay doctor`, as text or JSON
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from replay.errors import DeviceError
from replay.profiles.footprint import LONGEST_REQUEST, MARGIN, footprints, memory_of, total_bytes
from replay.profiles.profile import EngineProfile

DOCTOR_SCHEMA = "kvreplay.doctor/1"

_PACKAGES = (
    "kvreplay",
    "torch",
    "numpy",
    "pyarrow",
    "click",
    "pydantic",
    "polars",
    "faker",
    "vl-convert-python",
    "jinja2",
    "rich",
)
#: Tests of the report page, and property tests.
_OPTIONAL_PACKAGES = ("playwright", "hypothesis")

_BF16_BYTES = 2


@dataclass(frozen=True, slots=True)
class KvShape:
    """The KV of one token of a model, in bf16, complete on all of its tensor-parallel ranks.

    A layer keeps a key and a value for each KV head, or under multi-head latent attention one
    compressed vector and one rotary key for all heads together.
    """

    model: str
    layers: int
    heads: int = 0
    head_dim: int = 0
    latent_dim: int = 0
    rotary_dim: int = 0

    @property
    def bytes_per_token(self) -> int:
        """Bytes of KV for each token, over all layers."""
        of_layer = 2 * self.heads * self.head_dim + self.latent_dim + self.rotary_dim
        return self.layers * of_layer * _BF16_BYTES

    @property
    def formula(self) -> str:
        """The formula of that number."""
        if self.latent_dim:
            of_layer = f"({self.latent_dim} latent + {self.rotary_dim} rotary)"
        else:
            of_layer = f"2 x {self.heads} KV heads x {self.head_dim}"
        return f"{self.layers} layers x {of_layer} x {_BF16_BYTES} bytes"


#: Public shapes: `config.json` of each model.
KV_SHAPES = (
    KvShape("DeepSeek-V2-Lite", layers=27, latent_dim=512, rotary_dim=64),
    KvShape("Qwen2.5-7B", layers=28, heads=4, head_dim=128),
    KvShape("DeepSeek-V3, DeepSeek-R1", layers=61, latent_dim=512, rotary_dim=64),
    KvShape("Llama-3.1-8B, Mixtral-8x7B", layers=32, heads=8, head_dim=128),
    KvShape("Qwen3-235B-A22B", layers=94, heads=4, head_dim=128),
    KvShape("Qwen3-32B", layers=64, heads=8, head_dim=128),
    KvShape("Llama-3.1-70B", layers=80, heads=8, head_dim=128),
    KvShape("Llama-3.1-405B", layers=126, heads=8, head_dim=128),
)


def diagnose(profile: EngineProfile, device: torch.device) -> dict[str, Any]:
    """Return the complete document: machine, devices, pools of the profile on `device`, KV of real models.

    Raises:
        DeviceError: torch sees the device but cannot work on it.
    """
    cuda = _cuda()
    if device.type == "cuda" and not cuda["usable"]:
        raise DeviceError(f"device {device} cannot be used: {cuda['why']}")
    total, free = memory_of(device)
    usable = int(free * (1 - MARGIN))
    needed = total_bytes(profile)
    return {
        "schema": DOCTOR_SCHEMA,
        "versions": {"python": platform.python_version()} | _versions(_PACKAGES),
        "optional": _versions(_OPTIONAL_PACKAGES),
        "machine": {"system": platform.platform(), "processor": platform.machine()},
        "cuda": cuda,
        "devices": _devices(with_cuda=cuda["usable"]),
        "profile": {
            "name": profile.name,
            "page_size": profile.page_size,
            "kv_bytes_per_token": profile.kv_bytes_per_token,
            "kv_words_per_page": profile.kv_words_per_page,
        },
        "device": {
            "name": str(device),
            "total_bytes": total,
            "free_bytes": free,
            "usable_bytes": usable,
        },
        "pools": [
            asdict(side) | {"pool_bytes": side.pool_bytes, "all_bytes": side.all_bytes}
            for side in footprints(profile)
        ],
        "longest_request_tokens": LONGEST_REQUEST,
        "needed_bytes": needed,
        "fits": needed <= usable,
        "widest_kv_bytes_per_token": widest_kv(profile, usable),
        "models": [
            {
                "model": shape.model,
                "bytes_per_token": shape.bytes_per_token,
                "formula": shape.formula,
                "tokens": usable // shape.bytes_per_token,
            }
            for shape in KV_SHAPES
        ],
    }


def widest_kv(profile: EngineProfile, usable_bytes: int) -> int | None:
    """Return the largest `kv_bytes_per_token` at which the pools fit; None if not even 0 fits."""

    def fits(width: int) -> bool:
        return total_bytes(replace(profile, kv_bytes_per_token=width)) <= usable_bytes

    if not fits(0):
        return None
    low, high = 0, usable_bytes
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    """Return the installed versions by name, None for missing packages."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _cuda() -> dict[str, Any]:
    """Whether torch can work on a CUDA device, and if not, why."""
    built_for = torch.version.cuda
    why = None
    if not torch.cuda.is_available():
        why = "torch sees no CUDA device" if built_for else "this torch is built without CUDA"
    else:
        try:
            torch.ones(1, device="cuda").sum().item()
        except RuntimeError as problem:
            why = str(problem).split("\n")[0]
    return {"usable": why is None, "built_for": built_for, "why": why}


def _devices(with_cuda: bool) -> list[dict[str, Any]]:
    """Return every device that could hold pools, with its memory."""
    total, free = memory_of(torch.device("cpu"))
    devices = [{"device": "cpu", "name": platform.processor() or platform.machine()}]
    sizes = [(total, free)]
    for number in range(torch.cuda.device_count() if with_cuda else 0):
        device = torch.device("cuda", number)
        devices.append({"device": str(device), "name": torch.cuda.get_device_name(device)})
        sizes.append(memory_of(device))
    return [
        device | {"total_bytes": total, "free_bytes": free}
        for device, (total, free) in zip(devices, sizes, strict=True)
    ]
