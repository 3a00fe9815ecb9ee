"""A matrix directory: what is done so far, and the results once all is.

matrix.json      which matrix: name, file, shard, number of cells, version
cells/SLUG       the recording of a cell      cells/SLUG.html  its page
cells/SLUG.json  its document, written last: a cell that has one is done
results.parquet  written when every cell is done: a directory that has one is finished
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from replay.errors import MatrixError
from replay.matrix.matrix import Shard
from replay.recording.file_kinds import CELL_JSON, CELLS, MATRIX
from replay.run.matrix_file import MatrixSource
from traces.files.locks import sweep
from traces.files.place import hold, remove
from traces.text import json_text

MATRIX_SCHEMA = "kvreplay.matrix/1"
CELL_SCHEMA = "kvreplay.cell/1"

#: What to do with a directory that holds a matrix: refuse when unfinished, go on, or begin again;
#: `merge` is `new`, but takes the place of half a merge.
Mode = Literal["new", "resume", "restart", "merge"]

_CELL_KEYS = {"cell", "fingerprint", "state", "error", "facts", "charts", "reproduce", "timing"}
_HEAD_KEYS = {"name", "file", "shard", "cells", "kvreplay"}

RESULT_FILES = ("results.parquet", "junit.xml", "summary.md", "matrix.html")


@dataclass(frozen=True, slots=True)
class MatrixStore:
    """The directory of one matrix."""

    directory: Path

    @property
    def cells(self) -> Path:
        """Where recordings, pages and documents of cells are."""
        return self.directory / "cells"

    @property
    def traces(self) -> Path:
        """Where made-up traces live while the matrix runs."""
        return self.directory / ".traces"

    def recording(self, slug: str) -> Path:
        """Where the recording of a cell is, if it is kept."""
        return self.cells / slug

    def page(self, slug: str) -> Path:
        """Where the page of a cell is, if it has one."""
        return self.cells / f"{slug}.html"

    @property
    def is_finished(self) -> bool:
        """Whether every cell was done and the results were written."""
        return (self.directory / "results.parquet").is_file()

    def head(self) -> dict[str, Any]:
        """What matrix.json says.

        Raises:
            MatrixError: it is missing or broken, or of another version.
        """
        path = self.directory / "matrix.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise MatrixError(
                f"{self.directory}: not a matrix directory: it has no readable matrix.json"
            ) from None
        if not isinstance(document, dict) or document.get("schema") != MATRIX_SCHEMA:
            raise MatrixError(
                f"{path}: not of the schema {MATRIX_SCHEMA!r} that this version reads"
            )
        if not document.keys() >= _HEAD_KEYS or not isinstance(document["file"], dict):
            raise MatrixError(f"{path}: damaged; run its matrix again with --restart --force")
        return document

    def write_head(
        self, source: MatrixSource, cells: int, shard: Shard | None, *, merged: bool = False
    ) -> dict[str, Any]:
        """Say which matrix this is, and whether its cells are copies from shards."""
        document = {
            "schema": MATRIX_SCHEMA,
            "name": source.name,
            "comment": source.file.comment,
            "file": {"path": str(source.path), "sha256": source.sha256, "text": source.text},
            "shard": None if shard is None else f"{shard[0]}/{shard[1]}",
            "cells": cells,
            "kvreplay": version("kvreplay"),
            "merged": merged,
        }
        with hold(self.directory / "matrix.json", MATRIX.entries["matrix.json"]) as place:
            place.write(json_text(document) + "\n")
        return document

    def document(self, slug: str) -> dict[str, Any] | None:
        """What is stored of a cell; None when it is not done, or its document cannot be read."""
        try:
            document = json.loads((self.cells / f"{slug}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(document, dict) or document.get("schema") != CELL_SCHEMA:
            return None
        return document if document.keys() >= _CELL_KEYS else None

    def done(self) -> int:
        """How many cells have a document."""
        return sum(1 for _ in self.cells.glob("*.json")) if self.cells.is_dir() else 0

    def forget_results(self) -> None:
        """Make the directory an unfinished one."""
        for name in RESULT_FILES:
            remove(self.directory / name, MATRIX.entries[name])

    def clear(self) -> None:
        """Remove everything that a matrix has written; what says that it is finished first."""
        self.forget_results()
        for name in ("cells", ".traces", "matrix.json"):
            remove(self.directory / name, MATRIX.entries[name])

    def sweep(self, slugs: Collection[str]) -> None:
        """Remove the cells that the matrix no longer has."""
        for path in sorted(self.cells.iterdir()):
            slug = path.name if path.is_dir() else path.name.rpartition(".")[0]
            if slug not in slugs and (kind := CELLS.kind_of(path.name)) is not None:
                remove(path, kind)


def write_cell_document(cells: Path, slug: str, document: Mapping[str, Any]) -> None:
    """Store a cell's document, whole or not at all: it is done."""
    name = f"{slug}.json"
    with hold(cells / name, CELL_JSON, sweeps=False) as place:
        place.write(json_text(document) + "\n")


@contextmanager
def open_store(
    directory: Path,
    mode: Mode,
    shard: Shard | None,
    source: MatrixSource | None = None,
    *,
    reads: Sequence[Path] = (),
    force: bool = False,
) -> Iterator[tuple[MatrixStore, int]]:
    """A matrix directory to run in, and a file descriptor that locks it while any process has it.

    Args:
        directory: where.
        mode: what to do with a matrix that is there.
        shard: which one is to run.
        source: the matrix that is to run; another one that is there stays, unless `force`.
        reads: what must survive.
        force: whether another matrix is thrown away.

    Raises:
        MatrixError: an unfinished matrix is there, another shard, or another matrix.
        OutputError: something else is there, or another process is at work.
    """
    with hold(directory, MATRIX, reads=reads, makes_folders=True, inside=True) as place:
        store = MatrixStore(directory)
        if (directory / "matrix.json").exists():
            _take_over(store, mode, shard, None if force else source)
        cells = place.subfolder("cells")
        sweep(cells)
        yield store, place.lock_descriptor


def _take_over(
    store: MatrixStore, mode: Mode, shard: Shard | None, source: MatrixSource | None
) -> None:
    """Go on with, replace or refuse what is there."""
    directory = store.directory
    if mode == "restart" and source is None:
        # Whatever matrix it was, also one whose head cannot be read.
        store.clear()
        return
    head = store.head()
    asked = None if shard is None else f"{shard[0]}/{shard[1]}"
    if source is not None:
        # A matrix may be edited and gone on with; whoever begins anew loses what was there.
        is_same = head["name"] == source.name
        if mode != "resume":
            is_same = (head["file"].get("sha256"), head["shard"]) == (source.sha256, asked)
        if not is_same:
            raise MatrixError(
                f"{directory}: holds another matrix, or an earlier text of this one "
                f"({_shard_words(head['shard'])} of {head['name']!r}); name another directory, or "
                "replace it with --force"
            )
    if mode == "restart" or (mode != "resume" and store.is_finished):
        store.clear()
        return
    if mode == "merge" and (head.get("merged") or source is None):
        # Half a merge is worth nothing: the shards are still there. Nor is what is thrown away.
        store.clear()
        return
    if mode != "resume":
        raise MatrixError(
            f"{directory}: holds an unfinished matrix, {store.done()} of {head['cells']} cells "
            "done; go on with --resume or begin again with --restart"
        )
    if head["shard"] != asked:
        raise MatrixError(
            f"{directory}: holds {_shard_words(head['shard'])}, not {_shard_words(asked)}; name "
            "another directory or use --restart"
        )
    store.forget_results()


def _shard_words(shard: str | None) -> str:
    return "the whole matrix" if shard is None else f"shard {shard}"
