"""A matrix directory: what is done so far, and the results once all is.

matrix.json      which matrix: name, file, shard, number of cells, version
cells/SLUG       the recording of a cell      cells/SLUG.html  its page
cells/SLUG.json  its document, written last: a cell that has one is done
results.parquet  written when every cell is done: a directory that has one is finished
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from replay.errors import MatrixError
from replay.matrix.file import MatrixSource
from replay.matrix.matrix import Shard
from replay.recording import write_text

MATRIX_SCHEMA = "kvreplay.matrix/1"
CELL_SCHEMA = "kvreplay.cell/1"

#: What to do with a directory that holds a matrix: refuse when unfinished, go on, or begin again;
#: `merge` is `new`, but takes the place of half a merge.
Mode = Literal["new", "resume", "restart", "merge"]

_CELL_KEYS = {"cell", "fingerprint", "state", "error", "facts", "charts", "reproduce", "timing"}
_HEAD_KEYS = {"name", "file", "shard", "cells", "kvreplay"}

RESULT_FILES = ("results.parquet", "junit.xml", "summary.md", "matrix.html")
_LOCK_WAIT_S = 10.0


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
            raise MatrixError(f"{path}: damaged; run its matrix again with --restart")
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
        _write_json(self.directory / "matrix.json", document)
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
            (self.directory / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove everything that a matrix has written, and nothing else."""
        self.forget_results()
        shutil.rmtree(self.cells, ignore_errors=True)
        shutil.rmtree(self.traces, ignore_errors=True)
        (self.directory / "matrix.json").unlink(missing_ok=True)

    def sweep(self, slugs: Collection[str]) -> None:
        """Remove what cut-off workers left, and the cells that the matrix no longer has."""
        for name in ("matrix.json", *RESULT_FILES):
            for half_written in self.directory.glob(f".{name}*"):
                half_written.unlink(missing_ok=True)
        for path in self.cells.iterdir():
            slug = path.name if path.is_dir() else path.name.rpartition(".")[0]
            if path.name.startswith(".") or slug not in slugs:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def write_cell_document(cells: Path, slug: str, document: Mapping[str, Any]) -> None:
    """Store a cell's document, whole or not at all: it is done."""
    _write_json(cells / f"{slug}.json", document)


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def open_store(
    directory: Path, mode: Mode, shard: Shard | None
) -> Iterator[tuple[MatrixStore, int]]:
    """A matrix directory to run in, and a file descriptor that locks it while any process has it.

    Raises:
        MatrixError: something else is there, an unfinished matrix, another shard, or another run.
    """
    store = MatrixStore(directory)
    _check_place(store)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise MatrixError(f"{directory}: cannot write a matrix there: {problem.strerror}") from None
    with _locked(directory) as descriptor:
        _check_place(store)
        if (directory / "matrix.json").exists():
            _take_over(store, mode, shard)
        store.cells.mkdir(exist_ok=True)
        yield store, descriptor


def _check_place(store: MatrixStore) -> None:
    directory = store.directory
    if not directory.exists():
        return
    if not directory.is_dir():
        raise MatrixError(f"{directory}: is a file; a matrix is a directory, name another one")
    # A run that was killed early has left its lock, if nothing else.
    is_ours = any((directory / name).exists() for name in ("matrix.json", ".lock"))
    if not is_ours and any(directory.iterdir()):
        raise MatrixError(
            f"{directory}: exists and is not a matrix directory; name another or empty it"
        )


def _take_over(store: MatrixStore, mode: Mode, shard: Shard | None) -> None:
    """Go on with, replace or refuse what is there."""
    directory = store.directory
    if mode == "restart" or (mode != "resume" and store.is_finished):
        store.clear()
        return
    head = store.head()
    if mode == "merge" and head.get("merged"):
        # Half a merge is worth nothing: the shards are still there.
        store.clear()
        return
    if mode != "resume":
        raise MatrixError(
            f"{directory}: holds an unfinished matrix, {store.done()} of {head['cells']} cells "
            "done; go on with --resume or begin again with --restart"
        )
    asked = None if shard is None else f"{shard[0]}/{shard[1]}"
    if head["shard"] != asked:
        raise MatrixError(
            f"{directory}: holds {_shard_words(head['shard'])}, not {_shard_words(asked)}; name "
            "another directory or use --restart"
        )
    store.forget_results()


def _shard_words(shard: str | None) -> str:
    return "the whole matrix" if shard is None else f"shard {shard}"


@contextmanager
def _locked(directory: Path) -> Iterator[int]:
    """A lock that lasts until every process that holds the descriptor is gone.

    Workers hold it too: those of a killed run may live a moment longer than it.
    """
    import fcntl

    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise MatrixError(
                        f"{directory}: another kvreplay is at work there; wait for it or name "
                        "another directory"
                    ) from None
                time.sleep(0.05)
        yield descriptor
    finally:
        os.close(descriptor)
