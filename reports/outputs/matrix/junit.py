"""A matrix as JUnit XML, as GitHub's report actions, GitLab and Jenkins read it.

One test case a cell, in one suite:

    <testcase classname="nightly.sglang-0_4_6_post4" name="the cell's name" time="0.412">

Jenkins takes what is before the last dot of `classname` for a package, GitLab shows `classname` as the
suite and GitHub's actions group by it, so it is the matrix and the profile, with their own dots as
underscores. The schema allows no `file` on a test case, so the suite has it, where GitHub's actions
look next; the line stands in the failure's text as `file:line`, where they search for it. GitLab shows
nothing but that text, so it says everything.

There is no `timestamp`: the schema does not ask for one, it would make equal results differ, and
Jenkins drops a suite whose name and timestamp it has seen before. Times are the `timing_` columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from reports.outputs.matrix.cells import Cell, Matrix, facts, read_cells, read_matrix
from traces.text import shortened

if TYPE_CHECKING:
    import pyarrow as pa

#: Outcomes that are a red test case; any other one that is not passed is an error.
_FAILURES = frozenset({"failed", "inconclusive"})

#: Characters of one text (a crash can say a lot) and of the one line that lists show.
_TEXT_CHARACTERS_MAX = 65_536
_MESSAGE_CHARACTERS_MAX = 400

# Written out, or a parser would read an end of line or a space in their place.
_IN_TEXT = {"\r": "&#13;"}
_IN_ATTRIBUTE = {**_IN_TEXT, "\n": "&#10;", "\t": "&#9;", '"': "&quot;"}


def junit_xml(results: pa.Table, matrix: Mapping[str, Any]) -> str:
    """The results of a matrix as one JUnit file.

    Args:
        results: the rows of results.parquet.
        matrix: what matrix.json holds.

    Raises:
        RecordingError: the table lacks a column.
    """
    about = read_matrix(matrix)
    cells = read_cells(results)
    counts = {
        "tests": str(len(cells)),
        "failures": str(sum(cell.outcome in _FAILURES for cell in cells)),
        "errors": str(sum(_is_error(cell) for cell in cells)),
    }
    time = {"time": _time(sum(cell.seconds for cell in cells))}
    name = f"{about.name} (shard {about.shard})" if about.shard else about.name
    # Shards are apart by name: of two suites of one name Jenkins may keep one.
    suite = {"name": name, **counts, "skipped": "0", **time}
    if about.file:
        suite["file"] = about.file
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<!-- kvreplay.junit/1 -->",
        f"<testsuites{_attributes({'name': 'kvreplay', **counts, **time})}>",
        f"<testsuite{_attributes(suite)}>",
        *_properties(about),
        *(_test_case(cell, about) for cell in cells),
        "</testsuite>",
        "</testsuites>",
    ]
    return "\n".join(lines) + "\n"


def _is_error(cell: Cell) -> bool:
    return cell.is_unexpected and cell.outcome not in _FAILURES


def _properties(matrix: Matrix) -> list[str]:
    pairs = {"kvreplay": matrix.kvreplay, "matrix-sha256": matrix.sha256}
    lines = [
        f"<property{_attributes({'name': name, 'value': value})}/>"
        for name, value in pairs.items()
        if value
    ]
    return ["<properties>", *lines, "</properties>"] if lines else []


def _test_case(cell: Cell, matrix: Matrix) -> str:
    group = f"{_undotted(matrix.name)}.{_undotted(cell.axis('profile') or 'no profile')}"
    start = {"classname": group, "name": cell.name, "time": _time(cell.seconds)}
    if not cell.is_unexpected:
        return f"<testcase{_attributes(start)}/>"
    element = "error" if _is_error(cell) else "failure"
    attributes = _attributes({"type": cell.outcome, "message": _message(cell)})
    text = escape(failure_text(cell, matrix), _IN_TEXT)
    return f"<testcase{_attributes(start)}><{element}{attributes}>{text}</{element}></testcase>"


def failure_text(cell: Cell, matrix: Matrix) -> str:
    """All that is known of an unexpected cell, and at its end the line that reproduces it."""
    told = [*facts(cell, matrix), ("reproduce", cell.row["reproduce"] or "not recorded")]
    return "\n".join(
        f"{name}:{_gap(text)}{shortened(text, _TEXT_CHARACTERS_MAX, lines=True)}"
        for name, text in told
    )


def _gap(text: str) -> str:
    """Several lines begin on one of their own."""
    return "\n" if "\n" in text else " "


def _message(cell: Cell) -> str:
    """One line that says what broke."""
    row = cell.row
    said = row["because"] or row["error"] or row["why"] or cell.outcome
    return shortened(said, _MESSAGE_CHARACTERS_MAX)


def _undotted(name: str) -> str:
    return name.replace(".", "_")


def _time(seconds: float) -> str:
    """Seconds as the schema wants them: three digits, no exponent."""
    return f"{seconds:.3f}"


def _attributes(values: Mapping[str, str]) -> str:
    return "".join(f' {name}="{escape(value, _IN_ATTRIBUTE)}"' for name, value in values.items())
