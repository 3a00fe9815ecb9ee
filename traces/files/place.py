"""Output places that one process holds, in which new content replaces old content in one step.

    free --hold--> ours, or empty --> locked --> swept --file(), folder()--> written beside the place
         <--end--  old content and lock removed            <--put-- new in place, old beside it

After a signal, a full disk or a kill at any moment, the place holds the complete old or new
content.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import stat
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from traces.errors import OutputError
from traces.files.kinds import FolderKind, Kind
from traces.files.locks import ASIDE, Hold, let_go, sweep
from traces.files.writing import write

_SCRATCH = FolderKind("a temporary folder", {})


class Place:
    """A file or folder that this process may write, as obtained from `hold`.

    Attributes:
        path: the real path, with links resolved.
        name: the path as the user gave it, for messages.
        kind: the kind of file or folder that it may replace.
    """

    def __init__(self, path: str | Path, kind: Kind, *, inside: bool = False) -> None:
        """Set the path. With `inside` the lock is in the folder, whose files are replaced individually."""
        self.name, self.kind, self._inside = os.fspath(path), kind, inside
        try:
            # Resolved once: later changes of a link or of the working folder have no effect.
            self.path = Path(os.path.realpath(path))
        except (OSError, ValueError) as problem:
            raise self._unwritable(problem) from problem
        self._hold = Hold(self.path, self.path if inside else self.path.parent)
        #: Removes unfinished files and the lock, even if a signal prevents the end of a block.
        self.let_go = weakref.finalize(self, let_go, self._hold)

    @property
    def exists(self) -> bool:
        """Whether a file or folder is there."""
        return os.path.lexists(self.path)

    @property
    def lock_descriptor(self) -> int:
        """The open lock, which excludes others as long as any process has it open."""
        assert self._hold.descriptor is not None
        return self._hold.descriptor

    def check(self, reads: Sequence[Path] = (), *, needs_folder: bool = False) -> None:
        """Check that the existing content may be replaced and is not one of the inputs.

        With `needs_folder`, also check that the parent folder exists and is writable.

        Raises:
            OutputError: a check fails.
        """
        try:
            if needs_folder and not os.access(self.path.parent, os.W_OK):
                number = errno.EACCES if self.path.parent.exists() else errno.ENOENT
                raise OSError(number, os.strerror(number))
            self._check_not(reads, [self.path, *self.path.parents])
            self._check_kind()
            # Now the content is known to be small.
            self._check_not(reads, self.path.rglob("*"))
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def _check_kind(self) -> None:
        is_folder, is_replaced = self.kind.is_folder, self.kind.is_folder and not self._inside
        if is_replaced and Path.cwd().is_relative_to(self.path):
            raise OutputError(f"{self.name}: is the working folder; name a folder inside it")
        if not self.exists:
            return
        mode = self.path.lstat().st_mode
        found: Path | None = self.path
        if stat.S_ISDIR(mode) and not is_folder:
            problem = f"is a directory; name a file, such as {self.name.rstrip('/')}/NAME"
        elif not stat.S_ISDIR(mode) and is_folder:
            problem = f"is a file and {self.kind.noun} is a directory; name another place"
        elif not is_folder and not stat.S_ISREG(mode):
            problem = "is not a regular file; name another place"
        elif is_replaced and os.path.ismount(self.path):
            problem = "is a mount point; name a folder inside it"
        elif not mode & 0o222:
            problem = "is write-protected; name another place"
        elif (found := self.kind.stranger(self.path)) is not None:
            raise self._foreign(found)
        else:
            return
        raise OutputError(f"{self.name}: {problem}")

    def _check_not(self, reads: Sequence[Path], paths: Iterable[Path]) -> None:
        # A missing input is reported by the code that reads it.
        wanted = [(each, each.stat()) for each in reads if each.exists()]
        for path in paths if wanted else ():
            for source, status in wanted:
                if os.path.lexists(path) and os.path.samestat(path.lstat(), status):
                    is_inside = path.is_relative_to(self.path)
                    how = "is" if path == self.path else "holds" if is_inside else "lies in"
                    raise OutputError(
                        f"{self.name}: {how} {source}, which this command reads; name another place"
                    )

    def _foreign(self, found: Path) -> OutputError:
        what = "" if found == self.path else f" (see {found.relative_to(self.path)} in it)"
        return OutputError(
            f"{self.name}: exists and is not {self.kind.noun} made by kvreplay{what}; name another "
            "place, or move it away"
        )

    def file(self) -> Path:
        """Return the path of a new working file, to be created; it is removed at the end unless `put`."""
        return self._hold.new_path()

    def folder(self, mode: int = 0o777) -> Path:
        """Create a new working folder."""
        path = self.file()
        path.mkdir(mode)
        return path

    def subfolder(self, name: str) -> Path:
        """Create a folder inside this one; it is removed at the end if it is still empty."""
        path = self.path / name
        if not path.exists():
            self._hold.made.append(path)
        path.mkdir(exist_ok=True)
        return path

    def put(self, working: Path) -> None:
        """Move a working file or folder into the place, in one step.

        Raises:
            OutputError: a file that kvreplay did not make has appeared there in the meantime.
        """
        _sync(working)
        try:
            _move(working, self.path)
        except FileExistsError:
            # The new content is readable by nobody who could not read the old content.
            working.chmod(stat.S_IMODE(working.stat().st_mode & self.path.stat().st_mode))
            _swap(working, self.path)
            if (found := self.kind.stranger(working)) is not None:
                _swap(working, self.path)
                raise self._foreign(self.path / found.relative_to(working)) from None
        _sync_folder(self.path.parent)

    def take_back(self, working: Path, was: os.stat_result) -> None:
        """Undo the `put` of the file with this status, if it has happened."""
        if not self.exists or not os.path.samestat(self.path.lstat(), was):
            return
        if os.path.lexists(working):
            _swap(working, self.path)
        else:
            self.path.rename(working)

    def write(self, content: str | bytes) -> None:
        """Write a file with this content."""
        working = self.file()
        write(working, content)
        self.put(working)

    def empty(self) -> None:
        """Remove the content of the place."""
        if self.exists:
            _move(self.path, self.file())

    def explained(self, problem: Exception) -> Exception:
        """Return the problem with the user's name of the place, if it concerns this place."""
        # Working files are called by their final name.
        working = re.compile(rf"{re.escape(str(self._hold.folder))}(/(\d+|lock))?")
        if isinstance(problem, OutputError):
            told = working.sub(self.name, str(problem))
            return problem if told == str(problem) else OutputError(told)
        name = getattr(problem, "filename", None)
        known = (self.path, self._hold.folder, *self._hold.made)
        if isinstance(name, str | os.PathLike) and any(
            Path(name).is_relative_to(each) for each in known
        ):
            return self._unwritable(problem, working.sub(self.name, os.fspath(name)))
        return problem

    def _unwritable(self, problem: Exception, name: str = "") -> OutputError:
        reason = getattr(problem, "strerror", None) or str(problem)
        mend = "choose a place in a folder that is writable and has room"
        if isinstance(problem, FileNotFoundError) and not self.path.parent.exists():
            mend = f"there is no directory {self.path.parent}, make it first"
        return OutputError(f"{name or self.name}: cannot be written ({reason}); {mend}")


@contextmanager
def hold(
    path: str | Path,
    kind: Kind,
    *,
    reads: Sequence[Path] = (),
    makes_folders: bool = False,
    inside: bool = False,
    sweeps: bool = True,
) -> Iterator[Place]:
    """Hold a place for the length of the block.

    Args:
        path: the destination, as the user gave it.
        kind: the kind of the new content, and the only kind that is replaced.
        reads: inputs of the same command, which must survive.
        makes_folders: create missing parent folders; they are removed again if nothing is written.
        inside: the place is a folder whose files are replaced individually.
        sweeps: remove the files of killed processes; not needed in a folder that is held already.

    Raises:
        OutputError: another file is there, another process holds the place, or it cannot be written.
    """
    place = Place(path, kind, inside=inside)
    held = place._hold
    try:
        if inside:
            # Create nothing in a folder that is not kvreplay's.
            place.check(reads)
        if makes_folders or inside:
            above = (held.beside, *held.beside.parents)
            for folder in [each for each in above if not each.exists()][::-1]:
                held.made.append(folder)
                folder.mkdir(exist_ok=True)
        held.acquire(place.name)
        if sweeps:
            sweep(held.beside)
        if not inside:
            place.check(reads)
        yield place
    except (OSError, OutputError) as problem:
        explained = place.explained(problem)
        if explained is problem:
            raise
        raise explained from problem
    finally:
        place.let_go()


@contextmanager
def hold_all(
    wanted: Iterable[tuple[Path, Kind]],
    *,
    reads: Sequence[Path] = (),
    makes_folders: bool = False,
) -> Iterator[list[Place]]:
    """Hold several places at once, as `hold` does."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(hold(path, kind, reads=reads, makes_folders=makes_folders))
            for path, kind in wanted
        ]


def put_together(written: Iterable[tuple[Place, Path]]) -> None:
    """Move several working files into their places, either all or none."""
    done: list[tuple[Place, Path, os.stat_result]] = []
    try:
        for place, working in written:
            done.append((place, working, working.lstat()))
            place.put(working)
    except BaseException:
        for place, working, was in reversed(done):
            place.take_back(working, was)
        raise


def check_apart(*paths: Path | None) -> None:
    """Check that no output of a command equals another one or lies inside one.

    Raises:
        OutputError: two outputs overlap.
    """
    given = [(path, Path(os.path.realpath(path))) for path in paths if path is not None]
    for number, (path, real) in enumerate(given):
        for other, other_real in given[:number]:
            if real.is_relative_to(other_real) or other_real.is_relative_to(real):
                raise OutputError(
                    f"{path}: is named twice; name each output once"
                    if real == other_real
                    else f"{path}: lies in {other}, or {other} in it; keep outputs apart"
                )


def remove(path: Path, kind: Kind) -> None:
    """Remove kvreplay's output at a path in one step, if there is any.

    Raises:
        OutputError: kvreplay did not make it, or another process holds it.
    """
    if os.path.lexists(path):
        with hold(path, kind, sweeps=False) as place:
            place.empty()


@contextmanager
def scratch() -> Iterator[Path]:
    """Create a private temporary folder for the length of the block."""
    at = Path(tempfile.gettempdir())
    with hold(at / f"kvreplay-{secrets.token_hex(6)}", _SCRATCH) as place:
        try:
            yield place.folder(0o700)
        except OSError as problem:
            if place.explained(problem) is problem:
                raise
            raise OutputError(
                f"{at}: cannot hold temporary files ({problem.strerror}); free some space or set "
                "TMPDIR to another folder"
            ) from problem


_AT_FDCWD = -100
_NOREPLACE, _EXCHANGE = 1, 2


def _renameat2(source: Path, target: Path, flags: int) -> bool:
    """Rename with flags; return False if the system or the file system does not support them."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(target))


def _move(source: Path, target: Path) -> None:
    """Rename to a free name; raise `FileExistsError` if it is taken."""
    if not _renameat2(source, target, _NOREPLACE):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        source.rename(target)


def _swap(one: Path, other: Path) -> None:
    """Exchange two names, in one step if the system supports it."""
    if not _renameat2(one, other, _EXCHANGE):
        # If interrupted in between, `locks` restores it.
        aside = one.with_name(one.name + ASIDE)
        other.rename(aside)
        one.rename(other)
        aside.rename(one)


def _sync(path: Path) -> None:
    """Flush a file, or a folder with its content, to disk before it gets its name."""
    if path.is_dir():
        for entry in path.iterdir():
            _sync(entry)
        _sync_folder(path)
        return
    with path.open("rb") as file:
        try:
            os.fsync(file.fileno())
        except OSError as problem:
            raise OSError(problem.errno, problem.strerror, str(path)) from None


def _sync_folder(folder: Path) -> None:
    # A rename is durable only after its folder is synced; some file systems cannot sync folders.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
