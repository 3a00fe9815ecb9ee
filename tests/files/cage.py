"""A sandbox with a place on which something stands, and what may become of everything in it."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from file_helpers import Verb, copy, hidden, run_here, tree

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


def write_all(at: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_bytes(content)


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
