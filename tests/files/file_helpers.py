"""What tests of files share: the verbs and their outputs, a museum of them, and trees as they are."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from replay.cli import run_command_line
from replay.errors import MatrixError
from replay.matrix.pool import Ended
from traces.errors import OutputError
from traces.files.writing import copy as write_copy

SYNTH = "--requests 5 --prompt-tokens 64 --output-tokens 8 --system-tokens 64 --seed"
RUN = "run t.parquet --profile sglang-0.4.6.post4 --drop 0.9 --set total_tokens=65536 --seed"
MAP = "--map when=arrival_time --map prompt=input_tokens --map answer=output_tokens"
HUNT = "hunt --defect completion-never-times-out --max-replays 1"
REPRODUCE = "reproduce --total 4096 --available"

MATRIX = """\
[axes]
profile = ["sglang-0.4.6.post4"]
topology = ["tp1:tp1"]
total_tokens = [65536]
plan = ["none", "lossy"]

[trace.tiny]
requests = 5
prompt_tokens_median = 64
system_tokens_median = 64
output_tokens_median = 8

[plan.lossy]
[[plan.lossy.rule]]
name = "lost"
fault = "drop"
probability = 0.9

[[expect]]
verdict = ["clean", "persistent", "inconclusive"]
"""

#: What the commands below read, by name in the museum.
INPUTS = {
    "t.parquet": f"trace synth {SYNTH} 1 -o t.parquet",
    "rec": f"{RUN} 3 --out rec",
    "s1": "matrix run m.kvmatrix.toml --jobs 1 --shard 1/2 --out s1",
    "s2": "matrix run m.kvmatrix.toml --jobs 1 --shard 2/2 --out s2",
}


@dataclass(frozen=True)
class Verb:
    """A command with an output called `{out}`.

    Attributes:
        words: the command.
        name: what its output is called, here and in the museum.
        other: the same command for another run.
        reads: what it reads, by name in the museum; the first is its input.
        is_folder: whether the output is a folder.
        force: the option that replaces another run's, if one is needed.
        is_worked_in: whether the output is a folder in which other entries are left alone.
        also: what else the command makes.
    """

    words: str
    name: str
    other: str = ""
    reads: tuple[str, ...] = ()
    is_folder: bool = False
    force: str = ""
    is_worked_in: bool = False
    also: tuple[str, ...] = ()

    def command(self, out: str, words: str | None = None) -> list[str]:
        """The words of a command line; `{parent}` in them is the folder of `{out}`."""
        parent = out.rstrip("/").rpartition("/")[0] or "."
        return [
            each.replace("{out}", out).replace("{parent}", parent)
            for each in (words or self.words).split()
        ]


def _report(suffix: str) -> Verb:
    option = "--perfetto" if suffix == "json.gz" else "-o"
    words = f"report rec {option} {{out}}"
    return Verb(words, f"r.{suffix}", f"report other-rec {option} {{out}}", reads=("rec",))


VERBS = {
    "synth": Verb(
        f"trace synth {SYNTH} 2 -o {{out}}",
        "synth.parquet",
        f"trace synth {SYNTH} 4 -o {{out}}",
        force="--force",
    ),
    "like": Verb(
        "trace synth --like t.parquet -o {out}",
        "like.parquet",
        "trace synth --like t.parquet --seed 4 -o {out}",
        reads=("t.parquet",),
        force="--force",
    ),
    "import": Verb(
        f"trace import log.csv {MAP} -o {{out}}",
        "import.parquet",
        f"trace synth {SYNTH} 4 -o {{out}}",
        reads=("log.csv",),
        force="--force",
    ),
    "slice": Verb(
        "trace slice t.parquet --head 3 -o {out}",
        "slice.parquet",
        "trace slice t.parquet --head 2 -o {out}",
        reads=("t.parquet",),
        force="--force",
    ),
    "anonymize": Verb(
        "trace anonymize t.parquet --key-file key -o {out}",
        "anonymize.parquet",
        "trace anonymize synth.parquet --key-file key -o {out}",
        reads=("t.parquet", "key"),
        force="--force",
    ),
    "run": Verb(
        f"{RUN} 3 --plan none.toml --out {{out}}",
        "recording",
        f"{RUN} 4 --out {{out}}",
        reads=("t.parquet", "none.toml"),
        is_folder=True,
        force="--force",
    ),
    "engine-log": Verb(
        f"{RUN} 3 --engine-log {{out}}",
        "serve.log",
        f"{RUN} 4 --engine-log {{out}}",
        reads=("t.parquet",),
    ),
    "both": Verb(
        f"{RUN} 3 --out R --engine-log {{out}}",
        "both.log",
        f"{RUN} 4 --engine-log {{out}}",
        reads=("t.parquet",),
        also=("R",),
    ),
    "servers": Verb(
        f"{RUN} 3 --out R2 --engine-log {{parent}}/servers.{{server}}.log",
        "servers.decode0.log",
        f"{RUN} 4 --engine-log {{parent}}/servers.{{server}}.log",
        reads=("t.parquet",),
        also=("R2", "servers.prefill0.log"),
    ),
    "reproduce": Verb(
        f"{REPRODUCE} 3968 --out {{out}}",
        "reproduction",
        f"{REPRODUCE} 3904 --out {{out}}",
        is_folder=True,
        force="--force",
    ),
    "shrink": Verb(
        "shrink rec --max-replays 1 -o {out}",
        "shrunk",
        "shrink other-rec --max-replays 1 -o {out}",
        reads=("rec",),
        is_folder=True,
        force="--restart",
        is_worked_in=True,
    ),
    "matrix": Verb(
        "matrix run m.kvmatrix.toml --jobs 1 --out {out}",
        "matrix",
        "matrix run other.kvmatrix.toml --jobs 1 --out {out}",
        reads=("m.kvmatrix.toml",),
        is_folder=True,
        force="--force",
        is_worked_in=True,
    ),
    "merge": Verb(
        "matrix merge s1 s2 --out {out}",
        "merged",
        "matrix run other.kvmatrix.toml --jobs 1 --out {out}",
        reads=("s1", "s2"),
        is_folder=True,
        force="--force",
        is_worked_in=True,
    ),
    "junit": Verb(
        "matrix run m.kvmatrix.toml --jobs 1 --out M --junit {out}",
        "junit.xml",
        "matrix run other.kvmatrix.toml --jobs 1 --out M-other --junit {out}",
        reads=("m.kvmatrix.toml",),
        also=("M",),
    ),
    "markdown": Verb(
        "matrix merge s1 s2 --out M2 --markdown {out}",
        "matrix.md",
        "matrix run other.kvmatrix.toml --jobs 1 --out M-other2 --markdown {out}",
        reads=("s1", "s2"),
        also=("M2",),
    ),
    **{
        each: _report(suffix)
        for each, suffix in {
            "html": "html",
            "md": "md",
            "json": "json",
            "svg": "svg",
            "png": "png",
            "perfetto": "json.gz",
        }.items()
    },
    "hunt": Verb(
        f"{HUNT} -o {{parent}}",
        "hunted/found",
        f"{HUNT} --first 40 -o {{parent}}",
        is_folder=True,
        force="--restart",
        also=("hunted", "hunted/shrunk"),
    ),
    "demo": Verb("demo --out {out}", "demo", is_folder=True),
}


class HerePool:
    """A pool of the process that asks."""

    def __init__(self, task, *_, **__):
        self._task = task

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        return None

    def running(self):
        return 0

    def run(self, jobs, until=None):
        for key, message in jobs:
            try:
                value = self._task(json.loads(json.dumps(message)))
            except OutputError as problem:
                raise MatrixError(f"{key}: cannot be kept: {problem}") from problem
            yield Ended(key=key, value=value, worker="here", seconds=0.0)


def use_small_ways(patch: pytest.MonkeyPatch) -> None:
    """Have matrices run in this process, and the demo tell a short story."""
    import importlib

    demo = importlib.import_module("replay.commands.demo")
    patch.setattr(demo, "_REQUESTS", 12)
    patch.setattr("replay.matrix.pool.LocalPool", HerePool)
    patch.setattr("replay.pytest_plugin.cells.LocalPool", HerePool)
    patch.setattr("replay.matrix.pool.prepare", lambda: None)


def use_drawn(patch: pytest.MonkeyPatch, museum: Path) -> None:
    """Take pages and pictures from the museum: that they are drawn is not what is tested."""
    import importlib

    from reports.outputs.together import _Made

    drawn = {suffix: (museum / f"r{suffix}").read_bytes() for suffix in (".html", ".svg", ".png")}
    real_text = _Made._text
    patch.setattr(_Made, "_picture", lambda self, kind: drawn[kind])
    patch.setattr(
        _Made,
        "_text",
        lambda self, kind: drawn[kind].decode() if kind in drawn else real_text(self, kind),
    )
    demo = importlib.import_module("replay.commands.demo")
    patch.setattr(demo, "_tell_the_story", lambda folder, *_: _copy_into(museum / "demo", folder))
    page = drawn[".html"].decode()
    patch.setattr("reports.page.render_report", lambda *_, **__: page)
    patch.setattr("reports.outputs.matrix.page.render_matrix_page", lambda *_: page)


def _copy_into(source: Path, folder: Path) -> None:
    """Write what a folder holds into another, as a verb does."""
    for entry in sorted(source.iterdir()):
        write_copy(entry, folder / entry.name)


def run_here(words: list[str]) -> tuple[int, str]:
    """Run a command line in this process: exit code and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_command_line(words)
    return code, err.getvalue()


def fill_museum(root: Path) -> None:
    """Make one of everything in the working folder, which is `root`."""
    (root / "log.csv").write_text(
        "when,prompt,answer\n2024-01-01 00:00:03,64,8\n2024-01-01 00:00:01,64,8\n"
    )
    (root / "key").write_text("a" * 64)
    (root / "none.toml").write_text('comment = "no rule"\n')
    (root / "m.kvmatrix.toml").write_text(MATRIX)
    (root / "other.kvmatrix.toml").write_text(f'comment = "another"\n{MATRIX}')
    more = {"other-rec": f"{RUN} 4 --out other-rec"}
    for name, words in (INPUTS | more).items():
        _make(words.split(), name)
    for verb in VERBS.values():
        _make(verb.command(verb.name), verb.name)
        if verb.other:
            (root / "other").mkdir(exist_ok=True)
            name = f"other/{verb.name}"
            _make(verb.command(name, verb.other), name)


def _make(words: list[str], name: str) -> None:
    code, err = run_here(words)
    assert code in (0, 1, 3) and Path(name).exists(), (words, code, err)


def copy(source: Path, to: Path) -> None:
    """Copy a file or a folder with what is in it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, to, symlinks=True)
    else:
        shutil.copyfile(source, to)


def tree(root: Path) -> dict[str, tuple]:
    """Everything under a folder, by its path in it: what it is, its mode and its content."""
    found: dict[str, tuple] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(folder, name)  # noqa: PTH118
            found[os.path.relpath(path, root)] = _entry(path)
    return found


def _entry(path: str) -> tuple:
    status = os.lstat(path)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return "link", os.readlink(path)  # noqa: PTH115
    if stat.S_ISDIR(status.st_mode):
        return "folder", mode
    if not stat.S_ISREG(status.st_mode):
        return "special", status.st_mode
    with open(path, "rb") as file:  # noqa: PTH123
        return "file", mode, hashlib.blake2b(file.read()).hexdigest()


def hidden(root: Path) -> list[str]:
    """The hidden folders of kvreplay under a folder."""
    return sorted(path for path in tree(root) if Path(path).name.startswith(".kvreplay-"))
