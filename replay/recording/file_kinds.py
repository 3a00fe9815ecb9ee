"""What kvreplay leaves on disk, by kind: how a file says that it is kvreplay's, and what a folder holds.

    recording    run.json, summary.json, a table each          reproduction  trace, plan, recording
    matrix       matrix.json, cells/, .traces/, results        shrunk case   trace, plan, test, recording,
    demo         trace, recordings, reproductions, report                    journal, shrunk.json

`traces.files` writes them; only what is of its kind is ever replaced. Texts that people edit carry the
digest of what follows their first line: edited, they are no longer ours.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from traces.errors import OutputError
from traces.files.kinds import (
    EMPTY,
    TRACE,
    FileKind,
    FolderKind,
    by_head,
    by_json_schema,
    by_parquet_footer,
)
from traces.files.place import Place, hold

_SEAL = re.compile(rb"# kvreplay\.sealed/1 ([0-9a-f]{64})\n")
_JOURNAL_START = b'{"schema": "kvreplay.shrink-journal/'
PLAN_NAME, SHRUNK_FILE, JOURNAL_FILE = "plan.toml", "shrunk.json", "journal.jsonl"
#: First line of a server's log that no server wrote.
ENGINE_LOG_HEAD = "kvreplay.engine-log/1: what the servers of a replay would have logged"


def sealed(text: str, made_by: str) -> str:
    """A text behind two lines: whether anybody has edited it since, and the command that made it."""
    whole = f"{_made_by_line(made_by)}{text}"
    return f"# kvreplay.sealed/1 {hashlib.sha256(whole.encode()).hexdigest()}\n{whole}"


def _made_by_line(command: str) -> str:
    return f"# made by: {command.encode('unicode_escape').decode()}\n"


def _is_sealed(path: Path) -> bool:
    text = path.read_bytes()
    seal = _SEAL.match(text)
    return seal is not None and hashlib.sha256(text[seal.end() :]).hexdigest() == seal[1].decode()


def _is_journal(path: Path) -> bool:
    """Also one that was cut off, or lost with the power, while its first line was written."""
    with path.open("rb") as file:
        head = file.read(len(_JOURNAL_START))
    return _JOURNAL_START.startswith(head.rstrip(b"\0"))


@contextmanager
def hold_reproduction(
    directory: Path, made_by: str, *, reads: Sequence[Path] = (), force: bool = False
) -> Iterator[Place]:
    """Hold the place of trace, plan and recording; those of another command stay, unless `force`.

    Raises:
        OutputError: another's are there, or something else.
    """
    with hold(directory, REPRODUCTION, reads=reads, makes_folders=True) as place:
        plan = place.path / PLAN_NAME
        if not force and plan.exists():
            _, line, _ = plan.read_text(encoding="utf-8").split("\n", 2)
            if f"{line}\n" != _made_by_line(made_by):
                raise OutputError(
                    f"{directory}: holds {REPRODUCTION.noun} by another command; name another "
                    "directory, or replace it with --force"
                )
        yield place


def _is_perfetto(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, 4096)
        except zlib.error:
            return False
    return re.match(rb'\{"displayTimeUnit":"ms","otherData":\{"kvreplay": "', head) is not None


def _has_columns(path: Path) -> bool:
    """Whether a Parquet file has the columns of the recording's table of that name, of any version."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from replay.recording.tables import EPISODES_SCHEMA, OLD_COLUMNS, TABLES

    try:
        found = set(pq.read_schema(path).names)
    except (OSError, pa.ArrowException):
        return False
    known = set(TABLES.get(path.stem, EPISODES_SCHEMA).names)
    found -= OLD_COLUMNS
    return bool(found) and (found <= known or known <= found)


PLAN = FileKind("a plan, as it was written,", _is_sealed)
TEST = FileKind("a test, as it was written,", _is_sealed)
PAGE = by_head("a page", r'<!doctype html>.*<meta name="generator" content="kvreplay">')
MARKDOWN = by_head("a summary", r"(## [^\n]*\n\n)?<!-- kvreplay\.")
JSON = by_json_schema("a report as data", "kvreplay.report")
SVG = by_head("a timeline", r"<svg[^>]*><!-- kvreplay\.timeline/")
PNG = by_head("a timeline", r"\x89PNG.{4,100}tEXtSoftware\x00kvreplay\.timeline/")
PERFETTO = FileKind("a trace file for Perfetto", _is_perfetto)
JUNIT = by_head("a JUnit file", r"<\?xml[^>]*>\s*<!-- kvreplay\.junit/")
ENGINE_LOG = by_head("an engine's log", r"(\[pod/[^\]]*\] )?kvreplay\.engine-log/")

_TABLE = FileKind("a table", _has_columns)
_TABLES = ("audits", "events", "owners", "requests", "contents", "pages", "episodes")
RECORDING = FolderKind(
    "a recording",
    {
        "run.json": by_json_schema("a run", "kvreplay.run"),
        "summary.json": by_json_schema("a summary", "kvreplay.summary"),
        **{f"{name}.parquet": _TABLE for name in _TABLES},
    },
    proof=("run.json",),
)
REPRODUCTION = FolderKind(
    "a reproduction",
    {"trace.parquet": TRACE, PLAN_NAME: PLAN, "recording": RECORDING},
    proof=(PLAN_NAME,),
)
SHRUNK = FolderKind(
    "a shrunk case",
    {
        **REPRODUCTION.entries,
        "test_shrunk.py": TEST,
        SHRUNK_FILE: by_json_schema("a shrunk case", "kvreplay.shrunk"),
        JOURNAL_FILE: FileKind("a journal", _is_journal),
        ".lock": EMPTY,
    },
    proof=(SHRUNK_FILE, JOURNAL_FILE),
    is_worked_in=True,
)
DEMO = FolderKind(
    "a demo",
    {
        ".kvreplay-demo": EMPTY,
        "trace.parquet": TRACE,
        **dict.fromkeys(("clean", "delayed", "dropped"), RECORDING),
        **dict.fromkeys(("story-persistent", "story-transient"), REPRODUCTION),
        "report.html": PAGE,
    },
    proof=(".kvreplay-demo", "story-persistent"),
)
CELL_JSON = by_json_schema("a cell", "kvreplay.cell")
CELLS = FolderKind("cells of a matrix", {"*.json": CELL_JSON, "*.html": PAGE, "*": RECORDING})
MADE_TRACES = FolderKind("traces of a matrix", {"*.parquet": TRACE})
MATRIX = FolderKind(
    "a matrix directory",
    {
        "matrix.json": by_json_schema("a matrix", "kvreplay.matrix"),
        "results.parquet": by_parquet_footer("results of a matrix", "kvreplay.results/"),
        "cells": CELLS,
        ".traces": MADE_TRACES,
        ".lock": EMPTY,
        "matrix.html": PAGE,
        "summary.md": MARKDOWN,
        "junit.xml": JUNIT,
    },
    proof=("matrix.json",),
    is_worked_in=True,
)
