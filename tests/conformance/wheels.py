"""Wheels of real engines, downloaded once into a cache and unpacked; never installed.

$KVREPLAY_CACHE/wheels or ~/.cache/kvreplay/wheels
    .lock                       one process at a time fills the cache
    sglang==0.4.6.post4/        an unpacked wheel, put into place whole
"""

import fcntl
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

_DOWNLOAD_S_MAX = 600


class NoWheelError(Exception):
    """A wheel cannot be had; the message says why in one line."""


def cache_folder() -> Path:
    """Where unpacked wheels are kept."""
    root = os.environ.get("KVREPLAY_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "kvreplay") / "wheels"


def unpacked_wheel(requirement: str, skip: tuple[str, ...] = ()) -> Path:
    """The folder of an unpacked wheel (`name==version`), downloaded when it is not in the cache.

    Files under the folders named in `skip` are left out.
    """
    cache = cache_folder()
    folder = cache / requirement
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                with tempfile.TemporaryDirectory(dir=cache) as work:
                    unpacked = Path(work) / "unpacked"
                    unpack(_download(requirement, Path(work)), unpacked, skip)
                    unpacked.rename(folder)
    except OSError as error:
        raise NoWheelError(f"{requirement}: the cache {cache} cannot be filled: {error}") from error
    return folder


def unpack(wheel: Path, folder: Path, skip: tuple[str, ...] = ()) -> None:
    """Unpack a wheel, refusing names that lead out of the folder."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name:
                raise NoWheelError(f"{wheel.name} holds a file called {name!r}")
        names = [name for name in archive.namelist() if not name.startswith(skip)]
        archive.extractall(folder, names if skip else None)


def _download(requirement: str, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    limits = ["--no-deps", "--only-binary", ":all:", "--retries", "1", "--timeout", "30"]
    try:
        done = subprocess.run(
            [*pip, *limits, "--dest", str(folder), requirement],
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_S_MAX,
        )
    except subprocess.TimeoutExpired:
        raise NoWheelError(f"{requirement}: no wheel after {_DOWNLOAD_S_MAX} s") from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        last_line = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise NoWheelError(f"{requirement}: {last_line}")
    return wheels[0]
