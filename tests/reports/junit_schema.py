"""The common JUnit schema (Jenkins xunit's junit-10.xsd), out of the source package of pytest.

Nothing of it is part of this project: it is downloaded once, into $KVREPLAY_CACHE/schemas or
~/.cache/kvreplay/schemas, and put into place whole.
"""

import fcntl
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

_REQUIREMENT = "pytest==9.2.0"
_MEMBER = "testing/example_scripts/junit-10.xsd"
_DOWNLOAD_S_MAX = 300


class NoSchemaError(Exception):
    """The schema cannot be had; the message says why in one line."""


def junit_schema_file() -> Path:
    """The schema on disk, downloaded when it is not in the cache."""
    root = os.environ.get("KVREPLAY_CACHE")
    cache = (Path(root) if root else Path.home() / ".cache" / "kvreplay") / "schemas"
    place = cache / "junit-10.xsd"
    if place.is_file():
        return place
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.is_file():
                with tempfile.TemporaryDirectory(dir=cache) as work:
                    found = Path(work) / place.name
                    found.write_bytes(_member(_download(Path(work))))
                    found.rename(place)
    except (OSError, tarfile.TarError) as error:
        raise NoSchemaError(f"the cache {cache} cannot be filled: {error}") from error
    return place


def _download(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    limits = ["--no-deps", "--no-binary", "pytest", "--retries", "1", "--timeout", "30"]
    try:
        done = subprocess.run(
            [*pip, *limits, "--dest", str(folder), _REQUIREMENT],
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_S_MAX,
        )
    except subprocess.TimeoutExpired:
        raise NoSchemaError(f"{_REQUIREMENT}: nothing after {_DOWNLOAD_S_MAX} s") from None
    packages = list(folder.glob("*.tar.gz"))
    if done.returncode or len(packages) != 1:
        last_line = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise NoSchemaError(f"{_REQUIREMENT}: {last_line}")
    return packages[0]


def _member(package: Path) -> bytes:
    with tarfile.open(package) as archive:
        for name in archive.getnames():
            if name.endswith(f"/{_MEMBER}") and (file := archive.extractfile(name)) is not None:
                return file.read()
    raise NoSchemaError(f"{package.name} holds no {_MEMBER}")
