"""Creatures that other processes left or leave: hidden folders, failing disks, strangers that come late."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from cage import EITHER, LOOK_ALIKE, MADE, NOTES, REFUSED, Cage, creature, write_all
from creatures_of_ours import nothing
from file_helpers import tree

from traces.files import place as place_module
from traces.files.locks import LOCK_SCHEMA, Hold
from traces.files.place import Place

DEAD_PID = 2**22 + 1


def _hold_of(cage: Cage, place: Path | None = None) -> Path:
    place = place or cage.place
    is_inside = cage.verb.is_worked_in and place == cage.place
    return Hold(place, place if is_inside else place.parent).folder


@creature()
def stranger_in_the_way_of_the_lock(cage: Cage) -> str:
    if cage.verb.is_worked_in:
        cage.stand()
    folder = _hold_of(cage)
    contents = [{"notes.txt": NOTES}, {"lock": NOTES}, {"lock/notes.txt": NOTES}]
    write_all(folder, cage.pick(contents))
    cage.told = folder.name
    return REFUSED


@creature()
def stranger_that_is_called_like_a_lock(cage: Cage) -> str:
    folder = cage.work / LOOK_ALIKE
    contents = [
        {"notes.txt": NOTES},
        {"lock": NOTES},
        {"lock": b'{"schema": "other/1"}', "1": NOTES},
    ]
    write_all(folder, cage.pick(contents))
    if cage.number % 4 == 3:
        folder.rename(cage.elsewhere / "hidden")
        folder.symlink_to(cage.elsewhere / "hidden")
    return MADE


@creature()
def left_by_a_killed_process(cage: Cage) -> str:
    if cage.number % 2:
        cage.stand()
    elif cage.verb.is_worked_in:
        cage.place.mkdir()
        cage.ours.add(cage.place)
    names = [cage.place] if cage.number % 3 else [cage.place, cage.work / "another"]
    for name in names:
        folder = _hold_of(cage, name)
        document = {"schema": LOCK_SCHEMA, "pid": DEAD_PID, "place": name.name}
        write_all(folder, {"lock": json.dumps(document).encode(), "1": NOTES, "2/half": NOTES})
        cage.ours.add(folder)
    return MADE


def _stand_or_not(cage: Cage) -> None:
    cage.is_after_work = True
    if cage.number % 2:
        cage.stand()


@creature()
def disk_that_is_full(cage: Cage) -> str:
    _stand_or_not(cage)
    number = cage.pick([errno.ENOSPC, errno.EDQUOT, errno.EIO])
    left = [cage.pick([0, 1, 100, 1000, 2500, 10_000])]
    real = place_module.write.__globals__["_WorkingFile"].write

    def write(self: object, data: bytes) -> int:
        left[0] -= len(data)
        if left[0] < 0:
            raise OSError(number, os.strerror(number), self.name)
        return real(self, data)

    cage.patches.append(
        lambda patch: patch.setattr("traces.files.writing._WorkingFile.write", write)
    )
    return EITHER


@creature()
def disk_that_cannot_be_synced(cage: Cage) -> str:
    _stand_or_not(cage)

    def fsync(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    cage.patches.append(lambda patch: patch.setattr(os, "fsync", fsync))
    return REFUSED


@creature()
def disk_that_takes_no_names(cage: Cage) -> str:
    _stand_or_not(cage)
    number = cage.pick([errno.EROFS, errno.EIO, errno.EACCES, errno.ENOSPC])

    def rename(source: Path, target: Path, _flags: int) -> bool:
        raise OSError(number, os.strerror(number), str(source), None, str(target))

    cage.patches.append(lambda patch: patch.setattr(place_module, "_renameat2", rename))
    return REFUSED


@creature()
def disk_that_takes_no_folders(cage: Cage) -> str:
    if cage.number % 2:
        cage.stand()
    number = cage.pick([errno.EROFS, errno.EACCES, errno.ENOSPC])
    real = os.mkdir

    def mkdir(path: object, *more: object, **named: object) -> None:
        if Path(path).resolve().is_relative_to(cage.root):
            raise OSError(number, os.strerror(number), str(path))
        real(path, *more, **named)

    cage.patches.append(lambda patch: patch.setattr(os, "mkdir", mkdir))
    return REFUSED


@creature()
def disk_without_exchange(cage: Cage) -> str:
    if cage.number % 2:
        cage.stand()
    cage.patches.append(lambda patch: patch.setattr(place_module, "_renameat2", lambda *_: False))
    return MADE


def _before_putting(cage: Cage, do: Callable[[Path], None]) -> None:
    real, done = Place.put, []

    def put(self: Place, working: Path) -> None:
        is_working = any(part.startswith(".kvreplay-") for part in self.path.parts)
        if not done and not is_working and self.path.is_relative_to(cage.root):
            done.append(self.path)
            do(self.path)
        real(self, working)

    cage.patches.append(lambda patch: patch.setattr(Place, "put", put))


@creature()
def stranger_that_comes_meanwhile(cage: Cage) -> str:
    cage.is_after_work = True
    if cage.verb.is_worked_in:
        return nothing(cage)

    def come(path: Path) -> None:
        if cage.verb.is_folder and cage.number % 2:
            write_all(path, {"run.json": b"{}", "notes.txt": NOTES})
        else:
            path.write_bytes(NOTES)
        cage.came = path, tree(path.parent)[path.name]

    _before_putting(cage, come)
    return REFUSED


@creature()
def stranger_that_comes_into_ours_meanwhile(cage: Cage) -> str:
    cage.is_after_work = True
    if cage.verb.is_worked_in:
        return nothing(cage)
    cage.stand()

    def come(path: Path) -> None:
        at = path / "notes.txt" if path.is_dir() else path
        if at == path:
            path.unlink(missing_ok=True)
        at.write_bytes(NOTES)
        cage.came = at, tree(at.parent)[at.name]

    _before_putting(cage, come)
    return REFUSED


@creature()
def folder_that_vanishes_meanwhile(cage: Cage) -> str:
    if cage.verb.is_worked_in:
        return nothing(cage)
    cage.is_after_work = True
    home = cage.work / "home"
    home.mkdir()
    cage.place = home / cage.place.relative_to(cage.work)
    cage.place.parent.mkdir(exist_ok=True)
    if cage.number % 2:
        cage.stand()
    cage.ours.add(home)
    if cage.number % 3:
        _before_putting(cage, lambda _path: shutil.rmtree(home))
    else:
        # Moved away, with all that is in it.
        _before_putting(cage, lambda _path: home.rename(cage.elsewhere / "moved"))
        cage.ours.add(cage.elsewhere / "moved")
    return REFUSED
