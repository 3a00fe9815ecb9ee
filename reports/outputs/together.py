"""What `kvreplay report` leaves behind: which files, checked before anything is drawn, then all at once.

.html  the page      .md  Markdown for a pull request      .json  everything as data
.svg .png  the timeline as a picture      --perfetto  a trace file for ui.perfetto.dev
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replay.errors import RecordingError
from replay.recording.file_kinds import JSON, MARKDOWN, PAGE, PERFETTO, PNG, SVG
from replay.recording.reader import Recording
from traces.files.kinds import Kind
from traces.files.place import Place, check_apart, hold_all, put_together
from traces.files.writing import write
from traces.text import json_text

if TYPE_CHECKING:
    from replay.verdict.findings.suppressions import Accepted
    from reports.compare.comparison import Comparison
    from reports.evidence import Evidence
    from reports.section import Section

#: Suffix -> what a file of that name is.
KINDS: dict[str, Kind] = {
    ".html": PAGE,
    ".md": MARKDOWN,
    ".json": JSON,
    ".svg": SVG,
    ".png": PNG,
    "perfetto": PERFETTO,
}
PICTURES = (".svg", ".png")


@dataclass(frozen=True, slots=True)
class Output:
    """A file to make: where, and what (a suffix, or `perfetto`)."""

    path: Path
    kind: str


def plan_outputs(
    paths: Sequence[Path], perfetto: Path | None = None, reads: Sequence[Path] = ()
) -> tuple[Output, ...]:
    """Decide what every file is by its suffix, and make sure that it may be written.

    Raises:
        RecordingError: a suffix is unknown.
        OutputError: a name is given twice, or something else is in the way.
    """
    outputs = [_output(path) for path in paths]
    if perfetto is not None:
        if perfetto.suffix not in (".json", ".gz"):
            raise RecordingError(
                f"{perfetto}: a trace file must be named NAME.json.gz or NAME.json"
            )
        outputs.append(Output(perfetto, "perfetto"))
    check_apart(*(output.path for output in outputs))
    for output in outputs:
        Place(output.path, KINDS[output.kind]).check(reads)
    return tuple(outputs)


def _output(path: Path) -> Output:
    if path.is_dir():
        raise RecordingError(f"{path}: is a directory; name a file such as {path}/report.html")
    if path.suffix.lower() not in KINDS:
        *others, last = (suffix for suffix in KINDS if suffix.startswith("."))
        raise RecordingError(
            f"{path}: unknown kind of output; its suffix must be {', '.join(others)} or {last}"
        )
    return Output(path, path.suffix.lower())


def check_directories(directories: Sequence[Path]) -> None:
    """Make sure that every directory is one, and is given once.

    Raises:
        RecordingError: one is a file, or is given twice.
    """
    seen: set[str] = set()
    for directory in directories:
        if directory.is_file():
            raise RecordingError(
                f"{directory}: is a file; name the directory of a recording, "
                "which `kvreplay run TRACE --out DIR` makes"
            )
        if (place := os.path.realpath(directory)) in seen:
            raise RecordingError(f"{directory}: is given twice; name each recording once")
        seen.add(place)


def write_outputs(
    directories: Sequence[Path],
    outputs: Sequence[Output],
    *,
    title: str | None = None,
    advance: Callable[[int], None] | None = None,
    recordings: Sequence[Evidence] | None = None,
    accepted: Accepted | None = None,
) -> dict[str, Any]:
    """Read the recordings, make every output, and put all into place; return what `--json` prints.

    Args:
        directories: one recording each.
        outputs: what to make of them, from `plan_outputs`.
        title: what the page is called.
        advance: told of each of `steps_of` steps when it is done.
        recordings: the same recordings, where they have been read already.
        accepted: findings that a suppressions file accepts.

    Raises:
        RecordingError: a recording cannot be read, or an output cannot be made or written.
    """
    if len(directories) > 1 and any(output.kind == "perfetto" for output in outputs):
        raise RecordingError("a trace file shows one recording; use --perfetto with one DIR")
    made = _Made(directories, title, advance or (lambda _: None), accepted)
    if recordings is not None or any(output.kind != "perfetto" for output in outputs):
        made.read(recordings)
    with written_together(outputs) as working:
        told = [made.make(output, path) for output, path in zip(outputs, working, strict=True)]
    return made.document(outputs, told)


@contextmanager
def written_together(outputs: Sequence[Output]) -> Iterator[list[Path]]:
    """Working files, one for each output; all are put into place when all went well, or none.

    Raises:
        OutputError: something else is there, or it cannot be written.
    """
    wanted = [(each.path, KINDS[each.kind]) for each in outputs]
    with hold_all(wanted, makes_folders=True) as places:
        written = [(place, place.file()) for place in places]
        yield [working for _, working in written]
        put_together(written)


def steps_of(directories: Sequence[Path], outputs: Sequence[Output]) -> int:
    """How often `write_outputs` says that it got further."""
    return len(directories) + len(outputs)


class _Made:
    """What several outputs share, read and put into words once, when it is first needed."""

    def __init__(
        self,
        directories: Sequence[Path],
        title: str | None,
        advance: Callable[[int], None],
        accepted: Accepted | None,
    ) -> None:
        self._directories, self._title, self._advance = directories, title, advance
        self._accepted = accepted
        self.recordings: list[Evidence] = []
        self.comparison: Comparison | None = None

    def read(self, recordings: Sequence[Evidence] | None) -> None:
        """Read the recordings whole, as all but a trace file need them, unless they are given."""
        from reports.compare.comparison import compare_if_two
        from reports.evidence import load

        for at, directory in enumerate(self._directories):
            self.recordings.append(load(directory) if recordings is None else recordings[at])
            self._advance(1)
        self.comparison = compare_if_two(self.recordings)

    def make(self, output: Output, working: Path) -> dict[str, Any]:
        """Write one output; return what is to be told of it beside its path and kind."""
        told: dict[str, Any] = {}
        if output.kind == "perfetto":
            from reports.outputs.perfetto.writing import write_perfetto

            compress = output.path.suffix == ".gz"
            told = write_perfetto(self._directories[0], working, compress=compress).as_json()
        elif output.kind in PICTURES:
            write(working, self._picture(output.kind))
            told = {"recording": self.recordings[0].name}
        else:
            write(working, self._text(output.kind))
        self._advance(1)
        return told

    def document(self, outputs: Sequence[Output], told: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Where everything is, and the verdicts."""
        page = next((str(output.path) for output in outputs if output.kind == ".html"), None)
        return {
            "report": page,
            "recordings": len(self._directories),
            "verdicts": [_verdict(name, summary) for name, summary in self._summaries()],
            "comparison": None
            if self.comparison is None
            else {
                "change": self.comparison.result.change,
                "sentence": self.comparison.result.sentence,
            },
            "outputs": [
                {"path": str(output.path), "kind": output.kind.removeprefix("."), **more}
                for output, more in zip(outputs, told, strict=True)
            ],
        }

    def _summaries(self) -> list[tuple[str, dict[str, Any]]]:
        if self.recordings:
            return [(each.name, each.summary) for each in self.recordings]
        return [(str(each), Recording.open(each).summary()) for each in self._directories]

    def _text(self, kind: str) -> str:
        if kind == ".html":
            from reports.page import render_page

            return render_page(self.sections, self.comparison, self._title)
        if kind == ".md":
            from reports.compare.page import make_comparison_part
            from reports.outputs.markdown import report_markdown

            part = None if self.comparison is None else make_comparison_part(self.comparison)
            return report_markdown(self.sections, part)
        from reports.outputs.json_document import report_document

        document = report_document(self.recordings, self.sections, self.comparison, self._accepted)
        return json_text(document) + "\n"

    @cached_property
    def sections(self) -> list[Section]:
        """The recordings in words, numbers and drawings."""
        from reports.page import make_sections

        return make_sections(self.recordings, accepted=self._accepted)

    def _picture(self, kind: str) -> bytes:
        from reports.outputs.picture import timeline_png, timeline_svg

        evidence = self.recordings[0]
        try:
            return timeline_svg(evidence).encode() if kind == ".svg" else timeline_png(evidence)
        except ValueError as problem:
            raise RecordingError(f"{evidence.name}: cannot be drawn: {problem}") from None


def _verdict(name: str, summary: dict[str, Any]) -> dict[str, Any]:
    mismatch = summary["mismatch"]
    return {
        "recording": name,
        "verdict": summary["verdict"],
        "gap_tokens": 0 if mismatch is None else mismatch["gap"],
    }
