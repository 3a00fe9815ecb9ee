"""One cell on another machine: replayed in a temporary directory there, sent home as bytes.

message --> trace found or made --> run_cell --> document + files   (all plain data)
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from replay.errors import MatrixError
from replay.matrix.jobs import CellJob
from replay.matrix.run_one import failed_document, run_cell
from replay.matrix.store import write_cell_document
from replay.matrix.traces import synthesised
from replay.recording.file_kinds import PAGE, RECORDING
from traces.dataset import open_trace
from traces.errors import TraceError
from traces.files.place import hold, scratch
from traces.files.writing import write
from traces.synthesis_options import SynthesisOptions

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def run_remote(message: Mapping[str, Any]) -> dict[str, Any]:
    """Run a job where this is called; return its document, recording and page."""
    job = CellJob.from_message(message["job"])
    if message["kvreplay"] != version("kvreplay"):
        error = (
            f"{platform.node()} has kvreplay {version('kvreplay')}, not {message['kvreplay']}; "
            "install the same version on every worker"
        )
        return {"document": failed_document(job, "crashed", error), "recording": {}, "page": None}
    with scratch() as directory:
        try:
            path = _trace_here(job, directory / "traces")
        except (MatrixError, TraceError) as problem:
            document = failed_document(job, "crashed", str(problem))
            return {"document": document, "recording": {}, "page": None}
        # Its recording, if there is one, is not here.
        document = run_cell(replace(job, trace_path=str(path), cells=str(directory), done=None))
        document["timing"]["worker"] = f"{platform.node()}:{os.getpid()}"
        recording, page = directory / job.slug, directory / f"{job.slug}.html"
        files = recording.iterdir() if recording.is_dir() else ()
        return {
            "document": document,
            "recording": {file.name: file.read_bytes() for file in files},
            "page": page.read_bytes() if page.is_file() else None,
        }


def _trace_here(job: CellJob, directory: Path) -> Path:
    """The job's trace on this machine, the same bytes as on the one that asks.

    Raises:
        MatrixError: it is not the same.
        TraceError: it cannot be read or made.
    """
    if job.trace_options is not None:
        trace = synthesised(SynthesisOptions(**job.trace_options), directory)
        found, path = trace.sha256, trace.path
    else:
        path = Path(job.trace_path)
        found = open_trace(path).sha256()
    if found != job.trace_sha256:
        raise MatrixError(
            f"{path} on {platform.node()} has other bytes than where the matrix was started "
            f"(sha256 {found[:12]}, not {job.trace_sha256[:12]}); copy it there"
        )
    return path


def store_remote(cells: Path, slug: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Put what `run_remote` gave into place, the document last; return it.

    Raises:
        MatrixError: a file's name is not one.
    """
    with hold(cells / slug, RECORDING, sweeps=False) as place:
        place.empty()
        if answer["recording"]:
            working = place.folder()
            for name, content in answer["recording"].items():
                if not _FILE_NAME.fullmatch(name):
                    raise MatrixError(f"a worker sent a file called {name!r}; is it kvreplay's?")
                write(working / name, content)
            place.put(working)
    with hold(cells / f"{slug}.html", PAGE, sweeps=False) as place:
        place.empty()
        if answer["page"] is not None:
            place.write(answer["page"])
    document: dict[str, Any] = answer["document"]
    write_cell_document(cells, slug, document)
    return document
