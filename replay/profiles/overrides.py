"""Set profile fields from text, as in `--set FIELD=VALUE`."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from typing import Literal

from replay.errors import ProfileError
from replay.profiles.profile import EngineProfile

#: Fields that describe a profile rather than its behaviour.
_NOT_SET = ("name", "description", "defects")


def override(profile: EngineProfile, changes: dict[str, str]) -> EngineProfile:
    """Return a copy of a profile with some fields set from text.

    Raises:
        ProfileError: an unknown field, a value of the wrong type, or an inconsistent result.
    """
    hints = typing.get_type_hints(EngineProfile)
    for name in _NOT_SET:
        del hints[name]
    values: dict[str, object] = {}
    for name, text in changes.items():
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; see `kvreplay profiles`"
            raise ProfileError(f"--set {name}: no profile field of that name{hint}")
        values[name] = _parse(name, text, hints[name])
    return dataclasses.replace(profile, **values)  # type: ignore[arg-type]


def as_text(value: object) -> str:
    """Return a field's value as text that `override` accepts."""
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _parse(name: str, text: str, hint: object) -> object:
    """Turn the text of one --set value into the field's type."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if text not in options:
            raise ProfileError(f"--set {name}: {text!r} is not one of {', '.join(options)}")
        return text
    if origin is tuple:
        return tuple(part for part in text.split(",") if part)
    if hint is bool:
        if text not in ("true", "false"):
            raise ProfileError(f"--set {name}: {text!r} is neither true nor false")
        return text == "true"
    if origin in (types.UnionType, typing.Union) and text.lower() == "none":
        return None
    try:
        return int(text.replace("_", ""))
    except ValueError:
        raise ProfileError(f"--set {name}: {text!r} is not a whole number") from None
