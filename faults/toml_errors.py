"""What pydantic finds wrong in a TOML file, as one sentence: line, key, what was expected, what is near."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from faults.toml_lines import TomlPath, line_of

#: More valid names than this are not listed.
_LISTED_MAX = 12
_SHOWN_CHARACTERS_MAX = 80


def explain(
    problem: ValidationError, text: str, document: object, model: type[BaseModel]
) -> tuple[int | None, str]:
    """The line and the sentence of the first complaint about a document read from `text`."""
    first, path = _most_telling(problem, document)
    key = dotted(path) or "the file"
    if first["type"] == "extra_forbidden":
        known = _keys_of(model, path[:-1])
        return line_of(text, path), f"{key}: no such key; {nearest(str(path[-1]), known)}"
    if first["type"] == "missing":
        return line_of(text, path), f"{key}: missing, and it must be given"
    if first["type"] == "literal_error":
        options = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        hint = nearest(str(first["input"]), options)
        return line_of(text, path), f"{key}: {_shown(first['input'])} is not valid; {hint}"
    words = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return line_of(text, path), f"{key}: {_shown(first['input'])}: {words}"


def _most_telling(problem: ValidationError, document: object) -> tuple[ErrorDetails, TomlPath]:
    """The first complaint; where a value may have several types, the one that says the most."""
    errors = problem.errors(include_url=False)
    paths = [_path_in(document, error["loc"]) for error in errors]
    about = [number for number, path in enumerate(paths) if path[: len(paths[0])] == paths[0]]
    deepest = max(about, key=lambda number: (len(paths[number]), -number))
    return errors[deepest], paths[deepest]


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint: the nearest valid name, or all of them when none is near."""
    names = [each for each in known if each]
    near = difflib.get_close_matches(name, names, n=1)
    near += [each for each in names if name and (each.startswith(name) or name.startswith(each))]
    if near:
        return f"did you mean {near[0]}?"
    shown = ", ".join(names[:_LISTED_MAX]) + (", ..." if len(names) > _LISTED_MAX else "")
    return f"there are {shown}" if names else "there are none"


def dotted(path: TomlPath) -> str:
    """A path as people write it: `axes.seed`, and `expect[2].kinds`, counting from 1."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else text[: _SHOWN_CHARACTERS_MAX - 3] + "..."


def _path_in(document: object, location: Iterable[str | int]) -> TomlPath:
    """Pydantic's location without the names of types that it puts between keys."""
    path: TomlPath = ()
    parts = list(location)
    for place, part in enumerate(parts):
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and isinstance(part, int):
            element: object = document[part]
            document = element
        elif not (place == len(parts) - 1 and isinstance(document, dict)):
            continue
        path = (*path, part)
    return path


def _keys_of(model: type[BaseModel], path: TomlPath) -> list[str]:
    """The keys that the table at a path takes."""
    here: Any = model
    for part in path:
        model_here = _model_in(here)
        if isinstance(part, str) and model_here is not None and part in model_here.model_fields:
            here = model_here.model_fields[part].annotation
    model_here = _model_in(here)
    return [] if model_here is None else list(model_here.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside `list[M]`, `dict[str, M]`, `M | None`, or M itself."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in typing.get_args(annotation):
        if (found := _model_in(argument)) is not None:
            return found
    return None
