"""Writers on a stage that is as it was before each run, and the nursery that runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
from file_helpers import VERBS, copy, hidden, tree

from replay.recording.fingerprint import hash_recording
from traces.dataset import open_trace
from traces.files.locks import Hold

HERE = Path(__file__).parent
#: `all` cuts every step; else of those that do the same, before one that does the same, only the first.
EVERY_STEP = os.environ.get("KVREPLAY_KILLS") == "all"
REMOVED = "kvreplay: removed the files of an interrupted run beside "


class Nursery:
    """A process that forks others which run a command line and are cut off."""

    def __init__(self, museum: Path) -> None:
        self._museum = museum
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        path = os.pathsep.join((str(HERE.parents[1]), str(HERE)))
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "cut_off.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | threads | {"PYTHONPATH": path},
        )
        assert self._process.stdout.readline(), "it could not start"

    def run(self, words: list[str], cwd: Path, **more: object) -> dict:
        """How it ended; with `act="stop"`, that it has stopped: `finish` has to come then."""
        return self._ask({"words": words, "cwd": str(cwd), "museum": str(self._museum), **more})

    def finish(self, pid: int, *signals: int) -> dict:
        """Send signals to what has stopped; how it ended."""
        answer = self._ask({"finish": pid, "signals": list(signals)})
        answer.pop("steps", None)
        return answer

    def _ask(self, order: dict) -> dict:
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        self._process.communicate()


@dataclass(frozen=True)
class Writer:
    """A command, and what stands in its places before."""

    verb: str
    #: Whether another run's output is there.
    is_there: bool = False
    words: str = ""
    places: tuple[str, ...] = ()
    #: How it is told to go on, where it has to be.
    again: str = ""
    spills: bool = False
    #: Only the steps of its places and their locks, where another writer has the rest.
    is_partly: bool = False
    #: Whether it makes no step that another does not make, so that it is cut with `all` only.
    is_rare: bool = False
    #: The rerun is made after every so many of them.
    rerun_every: int = 1
    #: Which is to be begun; others are left as they are.
    more: dict[str, object] = field(default_factory=dict)


REPORTS = ("r.html", "r.md", "r.json", "r.svg", "r.png", "r.json.gz")
WRITERS = {
    "trace": Writer("synth", is_rare=True),
    "trace over another": Writer("synth", True),
    "import that spills": Writer("import", True, spills=True),
    "recording": Writer("run", is_rare=True),
    "recording over another": Writer("run", True),
    "engine logs and recording": Writer(
        "servers", True, places=("servers.prefill0.log", "servers.decode0.log", "R2")
    ),
    "reports": Writer(
        "html",
        True,
        f"report rec --perfetto r.json.gz {' '.join(f'-o {each}' for each in REPORTS[:5])}",
        REPORTS,
    ),
    "reproduction over another": Writer("reproduce", True, rerun_every=2),
    "shrunk": Writer("shrink", is_rare=True, rerun_every=4),
    "shrunk over another": Writer("shrink", True, rerun_every=4),
    "hunted over another": Writer("hunt", True, is_partly=True, rerun_every=4),
    "matrix": Writer("matrix", is_rare=True, again="--resume", rerun_every=4),
    "matrix over another": Writer("matrix", True, again="--resume", rerun_every=6),
    "merged over another": Writer("merge", True, rerun_every=4),
    "junit": Writer("junit", True, again="--resume", is_partly=True, rerun_every=2),
    "markdown": Writer("markdown", True, is_partly=True, rerun_every=2),
    "demo": Writer("demo", is_rare=True, rerun_every=4),
    "demo over another": Writer("demo", True, rerun_every=4),
}


class Stage:
    """A sandbox that is as it was before each run, always at the same path."""

    def __init__(self, nursery: Nursery, museum: Path, base: Path, writer: Writer) -> None:
        self.nursery, self.writer, self.verb = nursery, writer, VERBS[writer.verb]
        self.start, self.root, self.kept = base / "start", base / "root", base / "kept"
        (self.start / "tmp").mkdir(parents=True)
        (self.start / "notes.txt").write_text("precious\n")
        for name in {*self.verb.reads, "t.parquet"}:
            copy(museum / name, self.start / name)
        self.places = writer.places or (self.verb.name,)
        for name in self.places:
            (self.start / name).parent.mkdir(exist_ok=True)
            other = museum / "other" / name
            other = other if other.exists() else museum / name
            if writer.is_there and other.exists():
                copy(other, self.start / name)
        if writer.spills:
            rows = "".join(f"2024-01-01 00:00:{59 - each:02},64,8\n" for each in range(60))
            (self.start / "log.csv").write_text(f"when,prompt,answer\n{rows}")
        self.words = (writer.words or " ".join(self.verb.command(self.verb.name))).split()
        self.words += [self.verb.force] if self.verb.force and writer.is_there else []
        self.restore()
        self.steps: list[str] = []
        answer = self.run()
        assert answer["code"] in (0, 1, 3), answer
        self.old = {name: self.contents(self.start / name) for name in self.places}
        self.new = {name: self.contents(self.root / name) for name in self.places}
        self.outside = self.others(self.start)
        self.is_worked_in = self.verb.is_worked_in
        assert self.others(self.root) == self.outside

    def restore(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.start, self.root, symlinks=True)

    def run(self, *more: str, **how: object) -> dict:
        """Run it; what steps it made is kept the first time."""
        how = {"spills": self.writer.spills, **self.writer.more, **how}
        answer = self.nursery.run([*self.words, *more], self.root, **how)
        steps = answer.pop("steps", None)
        self.steps = self.steps or steps
        return answer

    def killed(self, before: Sequence[int] = (), within: Sequence[int] = ()) -> Iterator[object]:
        """Put into place what it leaves if it is killed before each of these steps, or within them.

        It runs once: what is on the disk then is copied, as it goes on. What a step leaves as it was is
        looked at once.
        """
        self.restore()
        keep = {"into": str(self.kept), "before": list(before), "within": list(within)}
        answer = self.run(keep=keep)
        assert answer["code"] in (0, 1, 3), answer
        seen: list[dict[str, tuple]] = []
        for number in (*before, *within):
            found = tree(self.kept / str(number))
            if found not in seen:
                seen.append(found)
                shutil.rmtree(self.root)
                (self.kept / str(number)).rename(self.root)
                yield number, self.steps[number - 1]
        shutil.rmtree(self.kept)

    def others(self, root: Path) -> dict[str, tuple]:
        """All but the places, what is made besides, and temporary and hidden files."""
        ours = {*self.places, *self.verb.also, "tmp"}
        ours |= {name.split("/")[0] for name in ours}
        return {
            path: entry
            for path, entry in tree(root).items()
            if path.split("/")[0] not in ours and ".kvreplay-" not in path
        }

    def kinds(self) -> list[int]:
        """The first step of each kind at each kind of place, from 1: each has a handler of its own."""
        first: dict[str, int] = {}
        for number in self.chosen():
            first.setdefault(shape_of(self.steps[number - 1]), number)
        return self.chosen() if EVERY_STEP else sorted(first.values())

    def chosen(self) -> list[int]:
        """The steps to cut, from 1: each that puts something, and the first of what is alike.

        A kill leaves what all steps before it have done, so what follows a step matters as well.
        """
        shapes = ["", *(shape_of(step) for step in self.steps), ""]
        where: dict[tuple[str, ...], list[int]] = {}
        for number, step in enumerate(self.steps, 1):
            if not self.writer.is_partly or self._is_own(step):
                alike = tuple(shapes[number : number + 2])
                key = (step, str(number)) if step.startswith("rename ") else alike
                where.setdefault(key, []).append(number)
        if EVERY_STEP:
            return sorted(number for each in where.values() for number in each)
        return sorted(found[0] for found in where.values())

    def _is_own(self, step: str) -> bool:
        path = step.partition(" ")[2]
        own = [
            os.path.relpath(each, self.root)
            for name in self.places
            for each in (self.root / name, Hold(self.root / name, (self.root / name).parent).folder)
        ]
        return any(path == each or path.startswith(f"{each}/") for each in own)

    def contents(self, place: Path, name: str = "") -> dict[str, object] | None:
        """What is in a place, without what depends on the clock; None if nothing is.

        `name` is what it is called where it belongs, if that is elsewhere.
        """
        if not os.path.lexists(place):
            return None
        if place.is_file():
            return {"": content_of(place, name)}
        files = {str(path.relative_to(place)): path for path in sorted(place.rglob("*"))}
        return {
            name: content_of(path)
            for name, path in files.items()
            if path.is_file() and ".kvreplay-" not in name
        }

    def assert_whole(self, told: object) -> None:
        """Every place has the old or the new, whole, and nothing else has changed."""
        assert self.others(self.root) == self.outside, told
        for name in self.places:
            found = self.contents(self.root / name)
            if self.is_worked_in:
                self._assert_parts_whole(name, found or {}, told)
            else:
                is_one = found in (self.old[name], self.new[name])
                # An empty folder of a place that is made again is no half.
                assert is_one or found == {}, (name, told)
                if name in ("recording", "R2") and found:
                    assert_sound(self.root / name)

    def _assert_parts_whole(self, name: str, found: dict, told: object) -> None:
        old, new = self.old[name] or {}, self.new[name]
        for path, content in found.items():
            if path == "journal.jsonl":
                continue
            if path.startswith(".traces/"):
                # Gone again by the end, and only there for the time of the run.
                assert open_trace(self.root / name / path).sha256(), told
                continue
            assert content in (old.get(path), new.get(path)), (path, told)
        for folder in {str(Path(path).parent) for path in found if path.endswith("/run.json")}:
            kept = [
                {path: entry for path, entry in each.items() if str(Path(path).parent) == folder}
                for each in (found, old, new)
            ]
            assert kept[0] in kept[1:], (folder, told)
            assert_sound(self.root / name / folder)

    def assert_new(self, told: object) -> None:
        for name in self.places:
            found, new = self.contents(self.root / name), self.new[name]
            if self.is_worked_in:
                ignored = "journal.jsonl"
                found.pop(ignored, None)
                new = {path: entry for path, entry in new.items() if path != ignored}
            assert found == new, (name, told)

    def on_disk(self) -> dict[str, object]:
        """What is where, and what is in each place; locks have the number of a process in them."""
        found: dict[str, object] = {path: entry[0] for path, entry in tree(self.root).items()}
        return found | {name: self.contents(self.root / name) for name in self.places}

    def left(self) -> set[str]:
        """Hidden folders in which something is left."""
        found = tree(self.root)
        return {
            path
            for path in hidden(self.root)
            if any(each.startswith(f"{path}/") and not each.endswith("/lock") for each in found)
        }

    def rerun(self, told: object) -> None:
        left = self.left()
        more = [self.writer.again] if self.writer.again else []
        folder = self.root / self.words[self.words.index("--out") + 1] if more else None
        if folder is not None and not (folder / "matrix.json").exists():
            more = []
        answer = self.run(*more)
        assert answer["code"] in (0, 1, 3), (told, answer)
        assert not hidden(self.root), (told, answer)
        # A merge begins anew and throws the cells away whole, with what is left among them.
        left = {each for each in left if self.writer.verb != "merge" or "/cells/" not in each}
        assert (REMOVED in answer["err"]) == bool(left), (told, left, answer["err"])
        self.assert_new(told)
        assert self.others(self.root) == self.outside, told


def shape_of(step: str) -> str:
    """A step without the names of files and of hidden folders."""
    action, _, path = step.partition(" ")
    # Alike as well: folders that are made in one that is put into place whole.
    path = re.sub(r"(kvreplay-[0-9a-f]{16}/\d+)/(?!\.)[^/]+/", r"\1/*/", path)
    folder, _, name = re.sub(r"kvreplay-[0-9a-f]{16}", "kvreplay", path).rpartition("/")
    return f"{action} {folder} {Path(name).suffix}"


def content_of(path: Path, called: str = "") -> object:
    """A file's content, without what depends on the clock."""
    content, name = path.read_bytes(), Path(called or path.name)
    # What waits aside may be another place's.
    if name.suffix == ".json" and content[:1] == b"{":
        document = json.loads(content)
        for each in ("timing", "environment"):
            document.pop(each, None)
        return document
    if name.name == "results.parquet" and content[:4] == b"PAR1":
        table = pq.read_table(path)
        names = [name for name in table.column_names if not name.startswith("timing_")]
        return table.select(names).to_pylist()
    if name.suffix == ".xml":
        return re.sub(rb'time="[^"]*"', b"", content)
    return hash(content)


def assert_sound(recording: Path) -> None:
    """Every table can be read, and they are those of the summary."""
    for path in recording.glob("*.parquet"):
        pq.read_table(path)
    summary = json.loads((recording / "summary.json").read_text())
    assert summary["recording_sha256"] == hash_recording(recording)
