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

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic import ValidationError as PydanticError

from faults.plan import PlanFile, complaint_of
from faults.toml.errors import explain
from faults.toml.lines import TomlPath, lines_of, nearest_line
from faults.toml.reading import TomlError, parse_toml, toml_text
from replay.errors import MatrixError
from replay.recording.kinds import GrowthName, KindName, VerdictName
from traces.synthesis_options import SynthesisOptions

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TOPOLOGY = re.compile(r"(?:([1-9]\d*)x)?tp([1-9]\d*)(?:dp([1-9]\d*))?")


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


def checked_topology(value: str) -> str:
    """The same text.

    Raises:
        ValueError: it is not PREFILL:DECODE.
    """
    prefill, _, decode = value.partition(":")
    if not (_TOPOLOGY.fullmatch(prefill) and _TOPOLOGY.fullmatch(decode)):
        raise ValueError(
            "expected PREFILL:DECODE, each [INSTANCESx]tpN[dpM], such as tp4:tp4dp4 or 2xtp1:tp2dp2"
        )
    return value


def _settings(value: object) -> object:
    if isinstance(value, dict):
        for field_value in value.values():
            _setting_text(field_value)
    elif not isinstance(value, str):
        raise ValueError("expected the name of a [settings.NAME] table, or an inline table")
    return value


def _setting_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    if isinstance(value, str | int):
        return str(value)
    raise ValueError("expected a string, a whole number, true or false, or a list of strings")


Seed = Annotated[int, Field(ge=0, lt=2**63)]
Whole = Annotated[int, Field(ge=1, lt=2**31)]
Topology = Annotated[str, AfterValidator(checked_topology)]
SettingsValue = Annotated[Any, AfterValidator(_settings)]
SettingText = Annotated[str, BeforeValidator(_setting_text)]
Globs = Annotated[list[str], BeforeValidator(_globs)]
Text = Annotated[str, Field(min_length=1)]


class Axes(_Strict):
    """The values to combine; an omitted axis has the value of the profile or of `run`."""

    trace: list[Text] | None = Field(None, min_length=1)
    profile: list[Text] = Field(min_length=1)
    topology: list[Topology] | None = Field(None, min_length=1)
    page_size: list[Whole] | None = Field(None, min_length=1)
    total_tokens: list[Whole] | None = Field(None, min_length=1)
    plan: list[Text] | None = Field(None, min_length=1)
    defects: list[list[Text]] | None = Field(None, min_length=1)
    settings: list[SettingsValue] | None = Field(None, min_length=1)
    seed: list[Seed] | None = Field(None, min_length=1)


class Include(_Strict):
    """One more cell; an omitted axis has its first value."""

    trace: Text | None = None
    profile: Text | None = None
    topology: Topology | None = None
    page_size: Whole | None = None
    total_tokens: Whole | None = None
    plan: Text | None = None
    defects: list[Text] | None = None
    settings: SettingsValue = None
    seed: Seed | None = None


class Pattern(_Strict):
    """Cells by globs for each axis; all keys must match, and for a list any of its patterns."""

    trace: Globs | None = None
    profile: Globs | None = None
    topology: Globs | None = None
    page_size: Globs | None = None
    total_tokens: Globs | None = None
    plan: Globs | None = None
    defects: Globs | None = None
    settings: Globs | None = None
    seed: Globs | None = None
    swarm: Globs | None = None


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
        return {name: _setting_text(each) for name, each in value.items()}
    return {} if value in (None, "none") else dict(source.file.settings[str(value)])


def topology_settings(topology: str) -> dict[str, str]:
    """Return the profile fields of a topology such as `tp4:tp4dp4`; instances only if given."""
    texts: dict[str, str] = {}
    for side, part in zip(("prefill", "decode"), topology.split(":"), strict=True):
        match = _TOPOLOGY.fullmatch(part)
        assert match is not None
        if match[1]:
            texts[f"{side}_instances"] = match[1]
        texts |= {f"{side}_tp": match[2], f"{side}_dp": match[3] or "1"}
    return texts


def topology_of(profile: Mapping[str, Any]) -> str:
    """Return a profile's topology in the notation of the topology axis."""
    return ":".join(_side(profile, side) for side in ("prefill", "decode"))


def _side(profile: Mapping[str, Any], side: str) -> str:
    instances, tp, dp = (profile[f"{side}_{key}"] for key in ("instances", "tp", "dp"))
    many = f"{instances}x" if instances != 1 else ""
    return f"{many}tp{tp}" + (f"dp{dp}" if dp != 1 else "")
