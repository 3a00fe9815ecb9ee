"""Creatures on a place that are none of our outputs, or more than one: nothing of them may change."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from cage import LOOK_ALIKE, NOTES, REFUSED, Cage, creature, write_all
from file_helpers import VERBS, Verb, copy

from replay.recording.tables import RUN_SCHEMA


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
    write_all(cage.place, cage.pick(folders))
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
