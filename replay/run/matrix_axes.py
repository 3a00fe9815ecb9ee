"""The axes of a matrix: the types of their values, the profile fields these set, and their result columns.

Keys of `[axes]`, `[[include]]` and patterns, names of cells, columns of results.parquet and the grid of the
page all follow from `AXES`. An axis whose values are profile fields is one entry there; what an axis
of another kind means for a replay is written in `replay/matrix/cells.py` (`_CellMaker._options`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

_TOPOLOGY = re.compile(r"(?:([1-9]\d*)x)?tp([1-9]\d*)(?:dp([1-9]\d*))?")


def checked_topology(value: str) -> str:
    """Return the text unchanged.

    Raises:
        ValueError: it is not PREFILL:DECODE.
    """
    prefill, _, decode = value.partition(":")
    if not (_TOPOLOGY.fullmatch(prefill) and _TOPOLOGY.fullmatch(decode)):
        raise ValueError(
            "expected PREFILL:DECODE, each [INSTANCESx]tpN[dpM], such as tp4:tp4dp4 or 2xtp1:tp2dp2"
        )
    return value


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


def setting_text(value: object) -> str:
    """Return the value of a profile field in the notation of `--set`.

    Raises:
        ValueError: no profile field has such a value.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    if isinstance(value, str | int):
        return str(value)
    raise ValueError("expected a string, a whole number, true or false, or a list of strings")


def _settings(value: object) -> object:
    if isinstance(value, dict):
        for field_value in value.values():
            setting_text(field_value)
    elif not isinstance(value, str):
        raise ValueError("expected the name of a [settings.NAME] table, or an inline table")
    return value


Text = Annotated[str, Field(min_length=1)]
_Seed = Annotated[int, Field(ge=0, lt=2**63)]
_Whole = Annotated[int, Field(ge=1, lt=2**31)]
_Topology = Annotated[str, AfterValidator(checked_topology)]
_Settings = Annotated[Any, AfterValidator(_settings)]


@dataclass(frozen=True, slots=True)
class ProfileFields:
    """The conversion between values of an axis and profile fields."""

    #: From a value of the axis to the fields, as text.
    to_settings: Callable[[Any], dict[str, str]]
    #: From all fields of a profile to the value of the axis, for results of cells without one.
    from_profile: Callable[[Mapping[str, Any]], object]


def _same_field(name: str) -> ProfileFields:
    """Return the conversion for a field with the same name as its axis."""
    return ProfileFields(lambda value: {name: str(value)}, lambda profile: profile[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The definition of one axis."""

    #: The type of one value in a matrix file.
    value: Any
    #: The type of its column in results.parquet.
    column: Literal["string", "int32", "int64"] = "string"
    #: The text of a cell for which the file has no value.
    absent: str = ""
    #: None if its values are no profile fields; the fields of `settings` are in tables of the file.
    fields: ProfileFields | None = None
    #: The text in tables for a swarm cell, whose seed draws the value; None if the seed does not draw it.
    drawn: str | None = None


#: The axes by name, in the order of cell names and result columns.
AXES: Mapping[str, Axis] = {
    "trace": Axis(value=Text),
    "profile": Axis(value=Text),
    "topology": Axis(
        value=_Topology, fields=ProfileFields(topology_settings, topology_of), drawn="drawn"
    ),
    "page_size": Axis(value=_Whole, column="int32", fields=_same_field("page_size")),
    "total_tokens": Axis(value=_Whole, column="int64", fields=_same_field("total_tokens")),
    "plan": Axis(value=Text, absent="none", drawn="swarm"),
    "defects": Axis(value=list[Text], absent="none"),
    "settings": Axis(value=_Settings, absent="none"),
    "seed": Axis(value=_Seed, column="int64", absent="0"),
}
