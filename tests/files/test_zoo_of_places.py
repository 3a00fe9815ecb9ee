"""Whatever stands where a verb is to write: nothing that is not ours changes, whatever happens.

Every verb's output is put on every creature of the zoo, spelled in many ways, on disks that fail; all
of the sandbox is compared before and after.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from file_helpers import VERBS, Verb, copy, hidden, run_here, tree, use_small_ways
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.recording.tables import RUN_SCHEMA
from traces.files import place as place_module
from traces.files.locks import LOCK_SCHEMA, Hold
from traces.files.place import Place

#: Cases of each verb; with 23 verbs more than two thousand in all.
CASES = int(os.environ.get("KVREPLAY_ZOO_CASES", "88"))
#: Cases of pytest, each of which collects and runs two cells.
PYTEST_CASES = max(1, CASES // 4)

REFUSED, MADE, EITHER = "refused", "made", "either"
NOTES = b"precious\n"
LOOK_ALIKE = ".kvreplay-0123456789abcdef"
DEAD_PID = 2**22 + 1


@dataclass
class Cage:
    """A sandbox with a verb's inputs, and the place on which a creature stands."""

    root: Path
    museum: Path
    verb: Verb
    force: bool
    number: int
    place: Path = Path()
    words: str = ""
    #: What of before may change: only what is provably ours.
    ours: set[Path] = field(default_factory=set)
    #: What the user types instead of the place.
    typed: str | None = None
    told: str = ""
    patches: list[Callable[[pytest.MonkeyPatch], None]] = field(default_factory=list)
    #: Whether it is found out only when all is done and is to be put in place.
    is_after_work: bool = False
    came: tuple[Path, tuple] | None = None

    def __post_init__(self) -> None:
        self.work, self.elsewhere = self.root / "work", self.root / "elsewhere"
        for each in (self.work, self.elsewhere, self.work / "sub"):
            each.mkdir(parents=True)
        for name in {*self.verb.reads, "t.parquet"}:
            copy(self.museum / name, self.work / name)
        self.place, self.words = self.work / self.verb.name, self.verb.words
        self.place.parent.mkdir(exist_ok=True)
        # Never to be touched, whatever happens.
        (self.work / "notes.txt").write_bytes(NOTES)
        (self.elsewhere / "notes.txt").write_bytes(NOTES)

    @property
    def own(self) -> Path:
        return self.museum / self.verb.name

    def pick(self, many: list) -> object:
        return many[self.number % len(many)]

    def stand(self, source: Path | None = None) -> None:
        """Let the verb's own output, or another, stand in the place; it may be replaced."""
        copy(source or self.own, self.place)
        self.ours.add(self.place)


Creature = Callable[[Cage], str]
CREATURES: dict[str, list[Creature]] = {"file": [], "folder": []}


def creature(*where: str) -> Callable[[Creature], Creature]:
    def add(function: Creature) -> Creature:
        for each in where or ("file", "folder"):
            CREATURES[each].append(function)
        return function

    return add


# What is not ours -----------------------------------------------------------------------------------


def foreign_files(museum: Path, verb: Verb) -> list[bytes]:
    """Contents that look like ours, or not at all, and are of no use for this verb."""
    png = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(17) + b"\0\0\0\0IEND\xaeB`\x82"
    contents = [
        os.urandom(200),
        b"precious text\n",
        b"\0" * 5000,
        b"{}",
        b'{"schema": "other/1"}',
        b'{"schema": "kvreplays.run/1"}',
        b'{"name": 1, "schema": "kvreplay.report/1"}',
        b"<!doctype html><title>mine</title>",
        b'<!doctype html><meta name="generator" content="other">',
        png,
        png.replace(b"IEND", b"tEXtSoftware\x00other/1"),
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b'<?xml version="1.0"?><testsuites/>',
        b"# kvreplay\n",
        b"<!-- mine -->\n",
        b"PAR1mine\x04\0\0\0PAR1",
        b"[2024-01-01] a log of mine\n",
        b"\x1f\x8b\x08\0broken",
    ]
    if not verb.name.endswith(".parquet"):
        contents.append(b"")
    for other in VERBS.values():
        same = Path(other.name).suffix == Path(verb.name).suffix
        if not other.is_folder and not same:
            contents.append((museum / other.name).read_bytes())
    for name in ("matrix/results.parquet", "rec/run.json", "rec/audits.parquet", "key"):
        contents.append((museum / name).read_bytes())
    contents += [(museum / "reproduction/plan.toml").read_bytes() + b"# edited by hand\n"]
    contents += [(museum / "foreign" / name).read_bytes() for name in ("other", "filtered")]
    return contents


def make_foreign(museum: Path) -> None:
    """Parquet files that other tools have made, one of them of a trace of ours."""
    folder = museum / "foreign"
    if folder.exists():
        return
    folder.mkdir()
    table = pq.read_table(museum / "t.parquet")
    pq.write_table(table.filter(pc.greater(table["arrival_us"], 0)), folder / "filtered")
    pq.write_table(table.select(["arrival_us"]).replace_schema_metadata(None), folder / "other")


@creature()
def foreign_file(cage: Cage) -> str:
    cage.place.write_bytes(cage.pick(foreign_files(cage.museum, cage.verb)))
    return REFUSED


@creature()
def another_foreign_file(cage: Cage) -> str:
    cage.number = cage.number * 7 + 3
    return foreign_file(cage)


@creature("file")
def trace_that_was_filtered(cage: Cage) -> str:
    copy(cage.museum / "foreign/filtered", cage.place)
    return REFUSED


@creature("file")
def own_output_that_was_edited_at_its_head(cage: Cage) -> str:
    content = bytearray(cage.own.read_bytes())
    content[:2] = b"??"
    if cage.verb.name.endswith(".parquet"):
        content[-4:] = b"????"
    cage.place.write_bytes(bytes(content))
    return REFUSED


@creature("file")
def folder_where_a_file_goes(cage: Cage) -> str:
    cage.place.mkdir()
    if cage.number % 2:
        (cage.place / "thesis.tex").write_bytes(NOTES)
    return REFUSED


@creature()
def pipe(cage: Cage) -> str:
    os.mkfifo(cage.place)
    return REFUSED


def _write_all(at: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_bytes(content)


@creature("folder")
def foreign_folder(cage: Cage) -> str:
    text = {"src/thesis.tex": NOTES}
    trace = (cage.museum / "t.parquet").read_bytes()
    foreign = (cage.museum / "foreign/filtered").read_bytes()
    run = json.dumps({"schema": RUN_SCHEMA}).encode()
    folders = [
        text,
        {"run.json": b"{}", **text},
        {"run.json": run, **text},
        {"run.json": b'{"schema": "other/1"}'},
        {".lock": b"", "cells/mine.txt": NOTES},
        {".lock": b"", **text},
        {"cells/mine.json": b'{"schema": "other/1"}'},
        {"cells/mine/run.json": run, "cells/mine/notes.txt": NOTES},
        {"cells/mine.html": b"<!doctype html>"},
        {".traces/mine.parquet": foreign},
        {"plan.toml": NOTES, "trace.parquet": foreign},
        {"plan.toml": NOTES, "trace.parquet": trace},
        {"trace.parquet": foreign},
        {".kvreplay-demo": b"", **text},
        {".kvreplay-demo": NOTES},
        {"matrix.json": b"{}", **text},
        {"matrix.json": b'{"schema": "other/1"}'},
        {"shrunk.json": b"{}"},
        {"journal.jsonl": b"{}\n", **text},
        {"recording/run.json": b"{}"},
        {"report.html": b"<!doctype html>"},
        {"audits.parquet": foreign},
        {f"{LOOK_ALIKE}/notes.txt": NOTES},
        {f"{LOOK_ALIKE}/lock": NOTES},
        {LOOK_ALIKE: NOTES},
        {"...": b""},
    ]
    _write_all(cage.place, cage.pick(folders))
    return REFUSED


@creature("folder")
def another_foreign_folder(cage: Cage) -> str:
    cage.number = cage.number * 5 + 2
    return foreign_folder(cage)


@creature("folder")
def folder_with_nothing_but_a_trace_of_the_user(cage: Cage) -> str:
    # What `trace import -o data/trace.parquet` made, say.
    copy(cage.museum / "t.parquet", cage.place / "trace.parquet")
    return REFUSED


@creature("folder")
def folder_with_recordings_of_the_user(cage: Cage) -> str:
    name = cage.pick(["recording", "clean", "cells/mine"])
    copy(cage.museum / "rec", cage.place / name)
    return REFUSED


@creature("folder")
def own_folder_with_more_in_it(cage: Cage) -> str:
    cage.stand()
    folders = [path for path in cage.place.rglob("*") if path.is_dir()]
    inner = [path for path in folders if path.relative_to(cage.place).parts[0] != ".traces"]
    at = cage.place
    if cage.verb.is_worked_in or (cage.number % 3 == 0 and inner):
        at = cage.pick(inner)
        if at.name == "cells":
            at = at.parent / "cells"
    more = cage.pick(["notes.txt", "report", "link", "foreign", "folder", "dots", "dead"])
    if more == "notes.txt":
        (at / "notes.txt").write_bytes(NOTES)
    elif more == "report":
        copy(cage.museum / "r.html", at / "kept.htm")
    elif more == "link":
        (at / "link").symlink_to(cage.elsewhere / "notes.txt")
    elif more == "dead":
        (at / "link").symlink_to("nowhere")
    elif more == "foreign":
        copy(cage.museum / "foreign/other", at / "mine.parquet")
    elif more == "folder":
        (at / "mine").mkdir()
        (at / "mine/notes.txt").write_bytes(NOTES)
    else:
        (at / ".notes").write_bytes(NOTES)
    return REFUSED


@creature("folder")
def own_folder_with_a_part_that_is_not_ours(cage: Cage) -> str:
    cage.stand()
    parts = sorted(path for path in cage.place.rglob("*") if path.is_file())
    part = cage.pick([path for path in parts if path.name != ".lock" and path.stat().st_size])
    how = cage.number % 3
    if how == 0:
        part.write_bytes(NOTES)
    elif how == 1:
        part.unlink()
        part.symlink_to(cage.elsewhere / "notes.txt")
    else:
        part.unlink()
        part.mkdir()
        (part / "notes.txt").write_bytes(NOTES)
    return REFUSED


# What is ours ---------------------------------------------------------------------------------------


@creature()
def nothing(cage: Cage) -> str:
    return MADE


@creature()
def nothing_and_no_folder_above(cage: Cage) -> str:
    cage.place = cage.work / "new" / "deep" / cage.verb.name
    return REFUSED if cage.verb.name.endswith((".parquet", ".log")) else MADE


@creature()
def a_file_above(cage: Cage) -> str:
    (cage.work / "file").write_bytes(NOTES)
    cage.place = cage.work / "file" / cage.verb.name
    return REFUSED


@creature("folder")
def empty_folder(cage: Cage) -> str:
    cage.place.mkdir()
    cage.ours.add(cage.place)
    return MADE


@creature()
def own_of_the_same_run(cage: Cage) -> str:
    cage.stand()
    return MADE


@creature()
def own_of_another_run(cage: Cage) -> str:
    if not cage.verb.other:
        return nothing(cage)
    cage.stand(cage.museum / "other" / cage.verb.name)
    return REFUSED if cage.verb.force and not cage.force else MADE


def group_of(verb: Verb) -> str:
    """Outputs of one group are one kind of thing."""
    if not verb.is_folder:
        return Path(verb.name).suffix
    same = {"hunted/found": "reproduction", "merged": "matrix"}
    return same.get(verb.name, verb.name)


@creature()
def own_of_another_kind(cage: Cage) -> str:
    others = [
        other
        for other in VERBS.values()
        if group_of(other) != group_of(cage.verb)
        and (cage.verb.is_folder or not other.is_folder or cage.number % 4 == 0)
    ]
    copy(cage.museum / cage.pick(others).name, cage.place)
    return REFUSED


@creature("folder")
def worked_in_folder_with_notes_beside(cage: Cage) -> str:
    cage.stand()
    (cage.place / "notes.txt").write_bytes(NOTES)
    (cage.place / "mine").mkdir()
    (cage.place / "mine/notes.txt").write_bytes(NOTES)
    (cage.place / "link").symlink_to(cage.elsewhere)
    if not cage.verb.is_worked_in:
        return REFUSED
    parts = [
        path for path in cage.place.iterdir() if path.name not in ("notes.txt", "mine", "link")
    ]
    cage.ours = set(parts)
    return MADE


@creature()
def own_that_is_write_protected(cage: Cage) -> str:
    cage.stand()
    cage.place.chmod(0o555 if cage.verb.is_folder else 0o444)
    return REFUSED


@creature()
def own_with_a_stricter_mode(cage: Cage) -> str:
    cage.stand()
    cage.place.chmod(0o700 if cage.verb.is_folder else 0o600)
    return MADE


@creature()
def own_with_another_name(cage: Cage) -> str:
    cage.stand()
    files = [cage.place]
    if cage.verb.is_folder:
        files = [path for path in cage.place.rglob("*") if path.is_file() and path.stat().st_size]
    os.link(cage.pick(sorted(files)), cage.elsewhere / "other-name")
    # A journal is written on in its place, so it must have no other name.
    return EITHER if cage.verb.is_worked_in else MADE


# Links ----------------------------------------------------------------------------------------------


@creature()
def link_to_what_is_not_ours(cage: Cage) -> str:
    target = cage.elsewhere / "foreign"
    if cage.verb.is_folder:
        _write_all(target, {"run.json": b"{}", "src/thesis.tex": NOTES})
    else:
        target.write_bytes(NOTES)
    cage.place.symlink_to(target)
    return REFUSED


@creature()
def link_to_own(cage: Cage) -> str:
    target = cage.elsewhere / "target"
    copy(cage.own, target)
    cage.ours.add(target)
    cage.place.symlink_to(os.path.relpath(target, cage.place.parent))
    return MADE


@creature()
def link_to_nothing(cage: Cage) -> str:
    cage.place.symlink_to(cage.elsewhere / "to-be-made")
    cage.ours.add(cage.elsewhere / "to-be-made")
    return MADE


@creature()
def link_to_itself(cage: Cage) -> str:
    cage.place.symlink_to(cage.place.name)
    return REFUSED


@creature()
def links_that_go_round(cage: Cage) -> str:
    cage.place.symlink_to(cage.elsewhere / "back")
    (cage.elsewhere / "back").symlink_to(cage.place)
    return REFUSED


# Inputs ---------------------------------------------------------------------------------------------


def _input(cage: Cage) -> Path | None:
    return cage.work / cage.verb.reads[0] if cage.verb.reads else None


@creature()
def the_input_itself(cage: Cage) -> str:
    path = _input(cage)
    if path is None or cage.verb.name == "hunted/found":
        return nothing(cage)
    cage.typed = cage.pick([path.name, f"sub/../{path.name}", str(path), f"./{path.name}"])
    if "{parent}" in cage.words:
        cage.words = cage.words.replace("{parent}/servers.{server}.log", "{out}")
    if path.suffix not in (".parquet", "") and cage.verb.words.startswith("report"):
        return nothing(cage)
    cage.place, cage.told = path, path.name
    return REFUSED


@creature()
def the_input_by_another_name(cage: Cage) -> str:
    path = _input(cage)
    if path is None:
        return nothing(cage)
    how = cage.number % 3
    if how == 0 and path.is_file():
        os.link(path, cage.place)
    elif how == 1 or path.is_dir():
        cage.place.symlink_to(path)
    else:
        (cage.elsewhere / "link").symlink_to(path)
        cage.place.symlink_to(cage.elsewhere / "link")
    return REFUSED


@creature("folder")
def the_input_inside(cage: Cage) -> str:
    path = _input(cage)
    if path is None:
        return nothing(cage)
    cage.stand()
    cage.ours.clear()
    inside = cage.place / path.name
    if cage.number % 2 and path.is_file():
        # By another name only.
        os.link(path, inside)
    else:
        shutil.move(path, inside)
        name = f"{cage.place.relative_to(cage.work)}/{path.name}"
        cage.words = cage.words.replace(f" {path.name}", f" {name}", 1)
    return REFUSED


# Hidden folders -------------------------------------------------------------------------------------


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
    _write_all(folder, cage.pick(contents))
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
    _write_all(folder, cage.pick(contents))
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
        _write_all(folder, {"lock": json.dumps(document).encode(), "1": NOTES, "2/half": NOTES})
        cage.ours.add(folder)
    return MADE


# Disks that fail ------------------------------------------------------------------------------------


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
            _write_all(path, {"run.json": b"{}", "notes.txt": NOTES})
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


# The rules ------------------------------------------------------------------------------------------

SPELLINGS = ("plain", "dot", "slash", "up-and-down", "absolute", "sub", "link", "link-absolute")


def spelled(cage: Cage, how: str) -> str:
    """The place as the user types it."""
    if cage.typed is not None:
        return cage.typed
    name = os.path.relpath(cage.place, cage.work)
    if how == "dot":
        return f"./{name}"
    if how == "slash":
        return f"{name}/"
    if how == "up-and-down" and not cage.place.is_symlink() and cage.place.parent == cage.work:
        return f"{name}/../{name}"
    if how == "absolute":
        return str(cage.place)
    if how == "sub":
        return f"sub/../{name}"
    if how.startswith("link"):
        (cage.elsewhere / "work").symlink_to(cage.work)
        start = cage.elsewhere if how == "link-absolute" else Path("../elsewhere")
        return f"{start}/work/{name}"
    return name


@pytest.fixture(scope="module")
def zoo(museum: Path) -> Iterator[Path]:
    """The museum, and verbs that do not draw what is drawn there already."""
    with without_drawing(museum):
        yield museum


@contextlib.contextmanager
def without_drawing(museum: Path) -> Iterator[None]:
    make_foreign(museum)
    with pytest.MonkeyPatch.context() as patch:
        use_small_ways(patch)
        drawn = {
            suffix: (museum / f"r{suffix}").read_bytes() for suffix in (".html", ".svg", ".png")
        }
        from reports.outputs.together import _Made

        real_text = _Made._text
        patch.setattr(_Made, "_picture", lambda self, kind: drawn[kind])
        patch.setattr(
            _Made,
            "_text",
            lambda self, kind: drawn[kind].decode() if kind in drawn else real_text(self, kind),
        )
        page = drawn[".html"].decode()
        patch.setattr("reports.page.render_report", lambda *_, **__: page)
        patch.setattr("reports.outputs.matrix.page.render_matrix_page", lambda *_: page)
        patch.setattr(
            "replay.commands.demo._tell_the_story", lambda folder, *_: _fill(folder, museum)
        )
        yield


def _fill(folder: Path, museum: Path) -> None:
    from traces.files.writing import copy as copy_whole

    for entry in sorted((museum / "demo").iterdir()):
        copy_whole(entry, folder / entry.name)


_numbers = itertools.count()


@contextlib.contextmanager
def sandbox(base: Path) -> Iterator[Path]:
    root = base / f"case-{next(_numbers)}"
    root.mkdir()
    try:
        yield root.resolve()
    finally:
        shutil.rmtree(root, ignore_errors=True)


def is_under(path: str, roots: set[str]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)


def check(cage: Cage, typed: str, before: dict, after: dict, code: int, err: str) -> None:
    """Every rule for one case."""
    root = cage.root
    assert code in (0, 1, 2, 3), (code, err)
    assert "Traceback" not in err and "internal error" not in err
    # What was moved away with its folder is out of reach.
    assert not {each for each in hidden(root) if "/moved/" not in each} - before.keys()
    ours = {os.path.relpath(path, root) for path in cage.ours}
    changed = {path for path in before if after.get(path) != before[path]}
    assert not {path for path in changed if not is_under(path, ours)}
    new = after.keys() - before.keys()
    if cage.came is not None:
        # What came meanwhile stays as it came.
        path, entry = cage.came
        came = os.path.relpath(path, root)
        assert after.get(came) == entry
        new = {each for each in new if not is_under(each, {came})}
    also = {f"work/{each}" for each in cage.verb.also}
    place = os.path.relpath(cage.place, root)
    if code != 2:
        above = {os.path.relpath(each, root) for each in cage.place.parents if each != cage.work}
        made = {place, *ours, *also}
        for at in (cage.place.parent, cage.place.parent.parent):
            made |= {os.path.relpath(at / each, root) for each in cage.verb.also}
        assert not {path for path in new - above if not is_under(path, made)}
        assert code == 3 or cage.place.exists()
        return
    assert_one_sentence(cage, typed, err)
    if not cage.is_after_work:
        assert not new
        assert not changed
    # What is worked in may have been begun, to be gone on with.
    begun = {place, *also} if is_worked(cage) else set()
    assert not {path for path in new if not is_under(path, ours | begun)}


def assert_one_sentence(cage: Cage, typed: str, err: str) -> None:
    """It says in one line what is wrong, and where."""
    told = [line for line in err.splitlines() if line.startswith(("kvreplay: ", "Error: "))]
    told = [line for line in told if "removed what a run that was cut off" not in line]
    assert len(told) == 1
    names = {typed, typed.rstrip("/"), cage.place.name, cage.told}
    # No hidden folder but one that is called so and stands there.
    shown = told[0].replace(cage.told or LOOK_ALIKE, "").replace(LOOK_ALIKE, "")
    assert ".kvreplay-" not in shown, told
    names |= {*cage.verb.also, tempfile.gettempdir()}
    assert any(name and name in told[0] for name in names), told


def is_worked(cage: Cage) -> bool:
    """Whether what is done when a disk fails stays, to be gone on with."""
    return cage.verb.is_worked_in or cage.verb.words.startswith(("matrix", "hunt"))


def meet(base: Path, zoo: Path, verb: Verb, made: Creature, how: str, force: bool, number: int):
    """Put a verb's output on a creature and look at everything."""
    with sandbox(base) as root, pytest.MonkeyPatch.context() as patch:
        cage = Cage(root, zoo, verb, force, number)
        expected = made(cage)
        typed = spelled(cage, how)
        words = cage.verb.command(typed, cage.words)
        words += [verb.force] if force and verb.force else []
        patch.chdir(cage.work)
        before = tree(root)
        with pytest.MonkeyPatch.context() as faulty:
            for each in cage.patches:
                each(faulty)
            code, err = run_here(words)
        patch.chdir(base)
        try:
            check(cage, typed, before, tree(root), code, err)
            assert expected == EITHER or (code == 2) == (expected == REFUSED), code
        except AssertionError as problem:
            problem.add_note(f"{made.__name__}: kvreplay {' '.join(words)}\n{err}")
            raise


@pytest.mark.parametrize("name", VERBS)
def test_no_verb_changes_what_is_not_its_own(zoo, tmp_path, name):
    verb = VERBS[name]
    creatures = CREATURES["folder" if verb.is_folder else "file"]
    cases = []

    @settings(max_examples=CASES, derandomize=True, database=None)
    @given(
        st.sampled_from(creatures), st.sampled_from(SPELLINGS), st.booleans(), st.integers(0, 999)
    )
    def meet_all(made: Creature, how: str, force: bool, number: int) -> None:
        cases.append(made)
        meet(tmp_path, zoo, verb, made, how, force, number)

    meet_all()
    assert len(cases) >= CASES


# Places that no verb of the zoo has -----------------------------------------------------------------


def run_pytest(work: Path, out: str) -> tuple[int, str]:
    """Run the cells of the matrix file in a folder with pytest, in this process."""
    text = io.StringIO()
    words = ["m.kvmatrix.toml", "--kvmatrix-out", out, "--rootdir", ".", "-c", "pytest.ini"]
    words += ["-p", "no:hypothesispytest", "-p", "no:cacheprovider", "--basetemp", "../temp"]
    with contextlib.chdir(work), contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        code = int(pytest.main(words))
    return code, text.getvalue()


@pytest.fixture(scope="module")
def kept(zoo, tmp_path_factory) -> Path:
    """What pytest keeps of the cells."""
    work = tmp_path_factory.mktemp("kept") / "work"
    work.mkdir()
    copy(zoo / "m.kvmatrix.toml", work / "m.kvmatrix.toml")
    (work / "pytest.ini").write_text("[pytest]\n")
    code, text = run_pytest(work, "kept")
    assert code == 0, text
    return work / "kept"


#: What stands in the folder, by what is to become of it: a path there, `*` being a cell, and content.
IN_KEPT = {
    "nothing": (MADE, {}),
    "notes at the top": (MADE, {"notes.txt": NOTES, "m/notes.txt": NOTES}),
    "notes beside the cells": (MADE, {"m/cells/notes.txt": NOTES, "m/cells/mine/run.json": NOTES}),
    "a file where the folder goes": (REFUSED, {"m": NOTES}),
    "a file where the cells go": (REFUSED, {"m/cells": NOTES}),
    "a file called like a cell": (REFUSED, {"m/cells/*": NOTES}),
    "a folder called like a cell": (REFUSED, {"m/cells/*/thesis.tex": NOTES}),
    "a folder that looks like a cell": (
        REFUSED,
        {"m/cells/*/run.json": b"{}", "m/cells/*/thesis.tex": NOTES},
    ),
    "a document of another": (REFUSED, {"m/cells/*.json": b'{"schema": "other/1"}'}),
    "a page of another": (REFUSED, {"m/cells/*.html": b"<!doctype html><title>mine</title>"}),
}


@settings(max_examples=PYTEST_CASES, derandomize=True, database=None)
@given(
    st.sampled_from(list(IN_KEPT)),
    st.sampled_from(["kept", "./kept", "kept/", "sub/../kept", "absolute", "link"]),
    st.booleans(),
    st.integers(0, 1),
)
def test_pytest_changes_nothing_but_the_cells_that_it_kept(
    zoo, kept, tmp_path_factory, name, typed, is_again, which
):
    expected, files = IN_KEPT[name]
    with sandbox(tmp_path_factory.mktemp("pytest")) as root:
        work = root / "work"
        (work / "sub").mkdir(parents=True)
        (root / "temp").mkdir()
        copy(zoo / "m.kvmatrix.toml", work / "m.kvmatrix.toml")
        (work / "pytest.ini").write_text("[pytest]\n")
        (work / "link").symlink_to(work / "kept")
        slug = sorted(path.stem for path in (kept / "m/cells").glob("*.json"))[which]
        ours: set[str] = set()
        if is_again and not any(each in ("m", "m/cells") for each in files):
            copy(kept, work / "kept")
            ours = set(tree(root))
        for each, content in files.items():
            path = work / "kept" / each.replace("*", slug)
            if path.parent.name != slug and path.is_dir():
                shutil.rmtree(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            ours -= {os.path.relpath(path, root)}
        before = tree(root)
        out = str(work / "kept") if typed == "absolute" else typed
        code, text = run_pytest(work, out)
        after = {path: entry for path, entry in tree(root).items() if not is_under(path, {"temp"})}
        changed = {path for path in before.keys() - ours if after.get(path) != before[path]}
        assert not changed - {"temp"}, text
        assert not hidden(root)
        assert code == (0 if expected == MADE else 1), text
        assert "INTERNALERROR" not in text
        assert {
            path for path in after.keys() - before.keys() if not is_under(path, {"work/kept"})
        } == set()


def test_a_trace_that_only_the_recording_names_survives_the_shrink_of_it(
    zoo, tmp_path, monkeypatch
):
    # The line that a shrunk case gives to see it again names a trace and a plan in its folder.
    monkeypatch.chdir(tmp_path)
    for name in ("rec", "shrunk"):
        copy(zoo / name, tmp_path / name)
    copy(zoo / "t.parquet", tmp_path / "t.parquet")
    document = json.loads((tmp_path / "shrunk/shrunk.json").read_text())
    words = document["reproduce"].replace(f"{zoo}/", "").split()[1:]
    assert "shrunk/trace.parquet" in words
    assert run_here([*words, "--out", "again"])[0] == 1
    before = tree(tmp_path)
    code, err = run_here(["shrink", "again", "-o", "shrunk", "--restart"])
    assert code == 2, err
    assert tree(tmp_path) == before


def test_shards_survive_the_results_of_the_whole(zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("s1", "s2"):
        copy(zoo / name, tmp_path / name)
    before = tree(tmp_path)
    for words in ("--junit s1/junit.xml", "--markdown s2/summary.md"):
        code, err = run_here(f"matrix merge s1 s2 --out M {words}".split())
        assert code == 2, err
        assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "damage", [{}, {"trace": None}, {"plan": {}}, {"profile": {"page_size": 64}}]
)
def test_a_recording_that_is_damaged_is_replaced_with_force_only(
    zoo, tmp_path, monkeypatch, damage
):
    monkeypatch.chdir(tmp_path)
    for name in ("recording", "t.parquet", "none.toml"):
        copy(zoo / name, tmp_path / name)
    run = json.loads((tmp_path / "recording/run.json").read_text())
    text = json.dumps(run | damage if damage else {"schema": run["schema"]})
    (tmp_path / "recording/run.json").write_text(text)
    before = tree(tmp_path)
    words = VERBS["run"].command("recording")
    code, err = run_here(words)
    assert (code, err.count("\n")) == (2, 1), err
    assert "recording" in err
    assert tree(tmp_path) == before
    assert run_here([*words, "--force"])[0] == 1


@pytest.mark.parametrize("name", ["synth", "import", "slice"])
def test_a_trace_that_is_damaged_is_bad_input_to_whoever_replaces_it(
    zoo, tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    verb = VERBS[name]
    for each in (verb.name, *verb.reads):
        copy(zoo / each, tmp_path / each)
    content = bytearray((tmp_path / verb.name).read_bytes())
    # The words of the footer are there, but nothing makes sense of it.
    content[-12:-8] = b"\xff" * 4
    length = int.from_bytes(content[-8:-4], "little")
    content[-8 - length : -4 - length] = b"\xff" * 4
    (tmp_path / verb.name).write_bytes(bytes(content))
    before = tree(tmp_path)
    code, err = run_here(verb.command(verb.name))
    assert (code, err.count("\n")) == (2, 1), err
    assert verb.name in err
    assert tree(tmp_path) == before


@pytest.mark.parametrize("out", [".", "", "..", "../work", str(Path.cwd())])
@pytest.mark.parametrize("name", ["run", "reproduce", "demo"])
def test_the_working_folder_is_never_replaced(zoo, tmp_path, monkeypatch, name, out):
    verb = VERBS[name]
    work = tmp_path / "work"
    copy(zoo / verb.name, work)
    monkeypatch.chdir(work)
    for each in verb.reads:
        copy(zoo / each, tmp_path / each)
    before = tree(tmp_path)
    out = str(work) if out.startswith("/") else out
    words = [str(tmp_path / word) if word in verb.reads else word for word in verb.words.split()]
    code, err = run_here([word.replace("{out}", out) for word in words])
    assert code == 2, err
    assert tree(tmp_path) == before
