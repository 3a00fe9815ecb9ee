"""The format of matrix files: tables and keys, with checks.

[axes]      values of each axis; every combination is a cell
[trace.X]   a synthetic trace         [plan.X]  a fault plan         [settings.X]  profile fields
[[include]] one more cell             [[exclude]] combinations to omit
[[expect]]  the expected result       [run], [budget]  for all cells
"""

from __future__ import annotations

import hashlib
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic import ValidationError as PydanticError

from faults.plan import PlanFile, complaint_of
from faults.toml.errors import explain
from faults.toml.lines import TomlPath, lines_of, nearest_line
from faults.toml.reading import TomlError, parse_toml, toml_text
from replay.errors import MatrixError
from replay.recording.kinds import GrowthName, KindName, VerdictName
from replay.run.matrix_axes import AXES, setting_text
from traces.synthesis_options import SynthesisOptions

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _globs(value: object) -> list[str]:
    globs = _listed(value)
    assert isinstance(globs, list)
    if not globs or not all(isinstance(each, str | int) for each in globs):
        raise ValueError("expected a pattern such as 'sglang-*', a number, or a list of these")
    return [str(each).lower() if isinstance(each, bool) else str(each) for each in globs]


SettingText = Annotated[str, BeforeValidator(setting_text)]
Globs = Annotated[list[str], BeforeValidator(_globs)]


def _axes_table() -> type[BaseModel]:
    """The values to combine; an omitted axis has the value of the profile or of `run`."""
    keys: dict[str, Any] = {}
    for name, axis in AXES.items():
        values = list[axis.value]  # type: ignore[name-defined]
        is_needed = name == "profile"
        keys[name] = (
            (values, Field(min_length=1))
            if is_needed
            else (values | None, Field(None, min_length=1))
        )
    return create_model("Axes", __config__=_Strict.model_config, **keys)


def _include_table() -> type[BaseModel]:
    """One more cell; an omitted axis has its first value."""
    keys: dict[str, Any] = {name: (axis.value | None, None) for name, axis in AXES.items()}
    return create_model("Include", __config__=_Strict.model_config, **keys)


def _pattern_table() -> type[BaseModel]:
    """Globs for every axis, and for `swarm`: whether a cell belongs to the swarm."""
    keys: dict[str, Any] = dict.fromkeys((*AXES, "swarm"), (Globs | None, None))
    return create_model("Pattern", __config__=_Strict.model_config, **keys)


if typing.TYPE_CHECKING:

    class Axes(_Strict):
        """The values to combine."""

    class Include(_Strict):
        """One more cell."""

    class Pattern(_Strict):
        """Cells by globs for each axis; all keys must match, and for a list any of its patterns."""
else:
    Axes, Include, Pattern = _axes_table(), _include_table(), _pattern_table()


class Expect(_Strict):
    """The expected result of the cells that match a pattern."""

    cells: Pattern = Field(default_factory=Pattern)
    verdict: Annotated[list[VerdictName], BeforeValidator(_listed), Field(min_length=1)] | None = (
        None
    )
    kinds: Annotated[list[KindName], BeforeValidator(_listed), Field(min_length=1)] | None = None
    max_gap_tokens: int | None = Field(None, ge=0)
    max_heal_us: int | None = Field(None, ge=0)
    growth: Annotated[list[GrowthName], BeforeValidator(_listed), Field(min_length=1)] | None = None


class Run(_Strict):
    """Options of `kvreplay run` for all cells."""

    repeat: int = Field(default=0, ge=0, le=1000)
    heal_budget_s: float = Field(default=600.0, ge=0, le=1e9)
    audit: Literal["changes", "every-step"] = "changes"
    stop_on_engine_error: bool = False


class Budget(_Strict):
    """Resource limits for a cell and for the whole matrix."""

    cell_s: float | None = Field(default=None, gt=0, le=1e7)
    memory_mb: int | None = Field(default=None, ge=1)
    total_s: float | None = Field(default=None, gt=0, le=1e7)


def _trace_table() -> type[BaseModel]:
    """The fields of `SynthesisOptions` with their types and defaults."""
    hints, defaults = typing.get_type_hints(SynthesisOptions), SynthesisOptions()
    keys: dict[str, Any] = {
        field.name: (hints[field.name], getattr(defaults, field.name))
        for field in fields(SynthesisOptions)
    }
    return create_model("TraceTable", __config__=_Strict.model_config, **keys)


if typing.TYPE_CHECKING:

    class TraceTable(_Strict):
        """A `[trace.NAME]` table."""
else:
    TraceTable = _trace_table()


class MatrixFile(_Strict):
    """The whole file."""

    name: str = ""
    comment: str = ""
    swarm: int = Field(0, ge=0, le=100_000)
    axes: Axes
    trace: dict[str, TraceTable] = Field(default_factory=dict)
    plan: dict[str, PlanFile] = Field(default_factory=dict)
    settings: dict[str, dict[str, SettingText]] = Field(default_factory=dict)
    run: Run = Run()
    include: list[Include] = Field(default_factory=list)
    exclude: list[Pattern] = Field(default_factory=list)
    expect: list[Expect] = Field(default_factory=list)
    budget: Budget = Budget()


@dataclass(frozen=True, slots=True)
class MatrixSource:
    """A matrix file with its text, so that errors can name lines."""

    #: As given by the user, for reproduce commands.
    path: Path
    text: str
    sha256: str
    file: MatrixFile
    lines: Mapping[TomlPath, int]

    @property
    def name(self) -> str:
        """The name of the matrix: its own, or that of its file."""
        return self.file.name or self.path.name.removesuffix(".toml").removesuffix(".kvmatrix")

    def line(self, *path: str | int) -> int | None:
        """Return the line of a key, or of the closest table around it."""
        return nearest_line(self.lines, path)

    def error(self, message: str, *path: str | int) -> MatrixError:
        """Return an error with the file and the line of a key."""
        return MatrixError(self.at(message, *path))

    def at(self, message: str, *path: str | int) -> str:
        """Return a message that begins with the file and the line of a key."""
        line = self.line(*path)
        return f"{self.path}:{line}: {message}" if line is not None else f"{self.path}: {message}"


def read_matrix_file(path: Path) -> MatrixSource:
    """Read a matrix file.

    Raises:
        MatrixError: the file is missing, is not TOML, or has an unknown key or an invalid value.
    """
    try:
        text = toml_text(path, "matrix")
    except TomlError as problem:
        raise MatrixError(problem.at(path)) from None
    return parse_matrix(text, path)


def parse_matrix(text: str, path: Path) -> MatrixSource:
    """Read a matrix from its text; `path` names it in errors and reproduce commands.

    Raises:
        MatrixError: as `read_matrix_file`.
    """
    try:
        document = parse_toml(text)
    except TomlError as problem:
        raise MatrixError(problem.at(path)) from None
    try:
        parsed = MatrixFile.model_validate(document)
    except PydanticError as problem:
        line, sentence = explain(problem, text, document, MatrixFile)
        where = f"{path}:{line}" if line is not None else str(path)
        raise MatrixError(f"{where}: {sentence}") from None
    source = MatrixSource(
        path, text, hashlib.sha256(text.encode()).hexdigest(), parsed, lines_of(text)
    )
    _check_names(source)
    return source


def _check_names(source: MatrixSource) -> None:
    for table in ("trace", "plan", "settings"):
        for name in getattr(source.file, table):
            if not _NAME.fullmatch(name) or name == "none":
                raise source.error(
                    f"{table}.{name}: not a name; use letters, digits, '_', '.' and '-', "
                    "and another word than none",
                    table,
                    name,
                )
    for name, plan in source.file.plan.items():
        if (wrong := complaint_of(plan)) is not None:
            path, complaint = wrong
            raise source.error(f"plan.{name}.{complaint}", "plan", name, *path)


def settings_texts(source: MatrixSource, value: object) -> dict[str, str]:
    """Return the profile fields, as text, that one value of the settings axis sets."""
    if isinstance(value, dict):
        return {name: setting_text(each) for name, each in value.items()}
    return {} if value in (None, "none") else dict(source.file.settings[str(value)])
