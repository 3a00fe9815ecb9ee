"""Globs over cells: which cells an `[[exclude]]` or `[[expect]]` means."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from replay.matrix.file import Pattern

#: The axes in the order in which a cell's name gives them.
AXES = (
    "trace",
    "profile",
    "topology",
    "page_size",
    "total_tokens",
    "plan",
    "defects",
    "settings",
    "seed",
)


def text_of(axis: str, value: object) -> str:
    """A value of an axis as text: what names show and patterns are matched with."""
    if axis == "defects":
        assert isinstance(value, list)
        return "+".join(value) or "none"
    if isinstance(value, dict):
        return ",".join(f"{name}={_plain(each)}" for name, each in value.items()) or "none"
    return str(value)


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "+".join(str(each) for each in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def matches(pattern: Pattern, axes: Mapping[str, str]) -> bool:
    """Whether every key that the pattern has matches the cell's value of that axis."""
    for axis, globs in pattern:
        if globs is None:
            continue
        values = [axes[axis]]
        if axis == "defects":
            # Of several defects, each may be meant, or all together as they are written.
            values += axes[axis].split("+")
        if not any(fnmatchcase(value, glob) for glob in globs for value in values):
            return False
    return True
