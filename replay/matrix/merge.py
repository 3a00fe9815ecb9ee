"""Put the shards of one matrix together, as if one run had run them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.errors import MatrixError
from replay.matrix.cells import Cell
from replay.matrix.matrix import Matrix, matrix_of
from replay.matrix.runner import Finished, RunPlan, finish_matrix
from replay.matrix.store import MatrixStore
from replay.recording.file_kinds import CELLS
from replay.run.matrix_file import parse_matrix
from traces.files.place import hold
from traces.files.writing import copy

#: Missing cells that an error names.
_NAMED_MAX = 3


@dataclass(frozen=True, slots=True)
class Whole:
    """A matrix, and which directory has each of its cells, by slug."""

    matrix: Matrix
    found: Mapping[str, MatrixStore]


def find_whole(directories: Sequence[Path]) -> Whole:
    """The matrix of these shards; nothing is written.

    Raises:
        MatrixError: the directories are not of one matrix and version, a cell is in none of them,
            or one cell came out differently in two.
    """
    shards = [MatrixStore(directory) for directory in directories]
    heads = [shard.head() for shard in shards]
    _check_same(directories, heads)
    file = heads[0]["file"]
    matrix = matrix_of(parse_matrix(file["text"], Path(file["path"])), find_inputs=False)
    return Whole(matrix, _find_cells(matrix.cells, shards))


def merge_shards(whole: Whole, store: MatrixStore, plan: RunPlan) -> Finished:
    """Copy all cells into an empty store and write the results of the whole.

    Raises:
        OutputError: a file cannot be written.
    """
    matrix = whole.matrix
    head = store.write_head(matrix.source, len(matrix.cells), None, merged=True)
    for slug, shard in whole.found.items():
        _copy(shard, store, slug)
    return finish_matrix(matrix, store, head, matrix.cells, plan, ran=0)


def _check_same(directories: Sequence[Path], heads: Sequence[Mapping[str, Any]]) -> None:
    for directory, head in zip(directories[1:], heads[1:], strict=True):
        for what, key in (("matrix file", "file"), ("version of kvreplay", "kvreplay")):
            mine, first = head[key], heads[0][key]
            if key == "file":
                mine, first = mine["sha256"], first["sha256"]
            if mine != first:
                raise MatrixError(
                    f"{directory}: of another {what} than {directories[0]} "
                    f"({mine[:12]}, not {first[:12]}); run its shard again"
                )


def _find_cells(cells: Sequence[Cell], shards: Sequence[MatrixStore]) -> dict[str, MatrixStore]:
    """Which directory has each cell."""
    found: dict[str, MatrixStore] = {}
    missing: list[str] = []
    for cell in cells:
        documents = [
            (shard, document)
            for shard in shards
            if (document := shard.document(cell.slug)) is not None
        ]
        if not documents:
            missing.append(cell.name)
            continue
        first, its_document = documents[0]
        for other, document in documents[1:]:
            if _sameness(document) != _sameness(its_document):
                raise MatrixError(
                    f"{cell.name}: came out differently in {first.directory} and "
                    f"{other.directory}; the same replay must not, look at both recordings"
                )
        found[cell.slug] = first
    if missing:
        named = "; ".join(missing[:_NAMED_MAX]) + ("; ..." if len(missing) > _NAMED_MAX else "")
        raise MatrixError(
            f"{len(missing)} of {len(cells)} cells are in none of the directories: {named}; name "
            "all shards, and finish those that are not with `kvreplay matrix run --resume`"
        )
    return found


def _sameness(document: Mapping[str, Any]) -> tuple[object, ...]:
    facts = document["facts"]
    return document["state"], None if facts is None else facts["recording_sha256"]


def _copy(shard: MatrixStore, store: MatrixStore, slug: str) -> None:
    for name in (slug, f"{slug}.html", f"{slug}.json"):
        kind = CELLS.kind_of(name)
        if kind is not None and (shard.cells / name).exists():
            with hold(store.cells / name, kind, sweeps=False) as place:
                working = place.file()
                copy(shard.cells / name, working)
                place.put(working)
