"""Locks on output places, and the removal of temporary files when a process ends in any way.

While a process holds a place, there is a hidden folder beside it, `.kvreplay-<hash of the name>`,
with

    lock     the id of the process; released when that process ends
    0, 1     the new output; after `put`, the previous content of the place
    0.old    the previous content, during a `put` on a system that cannot exchange two names

The next process that holds a place beside a hidden folder with a free lock removes the folder and
says so.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traces.errors import OutputError
from traces.text import printable

LOCK_SCHEMA = "kvreplay.lock/1"
ASIDE = ".old"

_FOLDER_NAME = re.compile(r"\.kvreplay-[0-9a-f]{16}")
_LOCK_BYTES_MAX = 4096
#: How long to wait for the lock of a dead process, whose workers may outlive it for a moment.
_LOCK_WAIT_S = 10.0

_log = logging.getLogger("kvreplay")


@dataclass(slots=True)
class Hold:
    """The hidden folder of one place. Every file in it is recorded before it is created."""

    place: Path
    #: Parent of the hidden folder: that of the place, or the place itself if it is worked in.
    beside: Path
    pid: int = field(default_factory=os.getpid)
    made: list[Path] = field(default_factory=list)
    descriptor: int | None = None
    #: Whether this process made the hidden folder, even if a signal prevented the lock.
    is_begun: bool = False
    _files: int = 0

    @property
    def folder(self) -> Path:
        """The hidden folder."""
        # A folder that is worked in may have an entry with the folder's name.
        key = f"{self.place.name}/" if self.beside == self.place else self.place.name
        digest = hashlib.blake2b(os.fsencode(key), digest_size=8).hexdigest()
        return self.beside / f".kvreplay-{digest}"

    def new_path(self) -> Path:
        """Return a new path in the hidden folder."""
        self._files += 1
        return self.folder / str(self._files)

    def acquire(self, named: str) -> None:
        """Acquire the lock, and remove the files that its last owner left.

        Raises:
            OutputError: another process has the lock, or another file is in the way.
        """
        deadline = time.monotonic() + _LOCK_WAIT_S
        while (descriptor := self._try()) is None:
            holder = (_document(self.folder) or {}).get("pid")
            if time.monotonic() > deadline or (holder is not None and _is_alive(holder)):
                raise OutputError(
                    f"{named}: process {holder} of kvreplay is writing there; wait for it or name "
                    "another place"
                )
            time.sleep(0.02)
        self.descriptor = descriptor
        _clear(self.folder, tell=True)
        document = {"schema": LOCK_SCHEMA, "pid": self.pid, "place": self.place.name}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(document).encode(), 0)

    def _try(self) -> int | None:
        self.is_begun = True
        try:
            self.folder.mkdir(0o777)
        except FileExistsError:
            self.is_begun = False
        if not is_hold(self.folder):
            raise OutputError(
                f"{self.folder}: is in the way and was not made by kvreplay; move it away"
            )
        return _locked(self.folder)


def let_go(hold: Hold) -> None:
    """Remove all recorded files, unless this is a fork of the process that holds the place."""
    if os.getpid() != hold.pid:
        return
    try:
        _let_go(hold)
    except KeyboardInterrupt:
        # A signal arrives once, and only delays the removal.
        _let_go(hold)
        raise


def _let_go(hold: Hold) -> None:
    if hold.descriptor is None and hold.is_begun:
        with suppress(OSError):
            hold.descriptor = _locked(hold.folder)
        # On a full disk there may be no room for the lock.
        with suppress(OSError):
            hold.folder.rmdir()
    if hold.descriptor is not None:
        with suppress(OSError):
            _remove(hold.folder)
    for folder in reversed(hold.made):
        # A folder that is not empty stays.
        with suppress(OSError):
            folder.rmdir()
    if hold.descriptor is not None:
        os.close(hold.descriptor)
        hold.descriptor = None


def sweep(folder: Path) -> None:
    """Remove the hidden folders that killed processes left in a folder."""
    with os.scandir(folder) as entries:
        found = [Path(each.path) for each in entries if _FOLDER_NAME.fullmatch(each.name)]
    for each in found:
        # Those of other users stay, for example in a folder that everybody may write.
        with suppress(OSError):
            if is_hold(each) and (descriptor := _locked(each)) is not None:
                try:
                    _remove(each, tell=True)
                finally:
                    os.close(descriptor)


def is_hold(folder: Path) -> bool:
    """Whether this is the hidden folder of a place, which may be empty or gone as it begins or ends."""
    if not _FOLDER_NAME.fullmatch(folder.name) or folder.is_symlink():
        return False
    with suppress(FileNotFoundError):
        if not folder.is_dir():
            return not os.path.lexists(folder)
        entries = {each.name: each.lstat().st_size for each in folder.iterdir()}
        return not entries or entries == {"lock": 0} or _document(folder) is not None
    return True


def delete(path: Path) -> None:
    """Remove a file or folder that is being written, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove(folder: Path, *, tell: bool = False) -> None:
    _clear(folder, tell=tell)
    (folder / "lock").unlink(missing_ok=True)
    folder.rmdir()


def _clear(folder: Path, *, tell: bool = False) -> None:
    """Empty a hidden folder whose lock is held, and restore content that was moved aside."""
    document = _document(folder)
    found = [each for each in folder.iterdir() if each.name != "lock"]
    if document is None or not found:
        return
    place = folder.parent / document["place"]
    for each in found:
        if each.name.endswith(ASIDE) and not os.path.lexists(place):
            each.rename(place)
        delete(each)
    if tell:
        told = printable(str(place))
        _log.warning("kvreplay: removed the files of an interrupted run beside %s", told)


def _locked(folder: Path) -> int | None:
    """Open and acquire the lock; return None if another process has it or has just removed it."""
    path = folder / "lock"
    with suppress(BlockingIOError, FileNotFoundError):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return os.dup(descriptor)
        finally:
            os.close(descriptor)
    return None


def _document(folder: Path) -> dict[str, Any] | None:
    """Return the content of the lock in a folder; None if it is not a valid lock."""
    try:
        with (folder / "lock").open("rb") as file:
            document = json.loads(file.read(_LOCK_BYTES_MAX))
        place, pid = Path(document["place"]), document["pid"]
        is_sound = document["schema"] == LOCK_SCHEMA and place.name == str(place)
        return document if is_sound and isinstance(pid, int) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
