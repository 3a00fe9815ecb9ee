"""What pydantic finds wrong in a TOML file, as one sentence: line, key, what was expected, what is near."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from faults.toml.lines import TomlPath, line_of
from traces.text import shortened

#: More valid names than this are not listed.
_LISTED_MAX = 12
_SHOWN_CHARACTERS_MAX = 80


#: Complaints about a table's keys, the more telling first: a misspelt key is missing as well.
_TELLING = ("extra_forbidden", "missing")


def explain(
    problem: ValidationError, text: str, document: object, model: type[BaseModel]
) -> tuple[int | None, str]:
    """The line and the sentence of the first complaint about a document read from `text`."""
    about, path = _most_telling(problem, document)
    first = about[0]
    key = dotted(path) or "the file"
    if first["type"] == "extra_forbidden":
        known = _keys_of(model, path[:-1])
        return line_of(text, path), f"{key}: no such key; {nearest(str(path[-1]), known)}"
    if first["type"] == "missing":
        return line_of(text, path), f"{key}: missing, and it must be given"
    shown = _shown(first["input"])
    options = [
        option
        for error in about
        if error["type"] == "literal_error"
        for option in re.findall(r"'([^']*)'", error["ctx"]["expected"])
    ]
    if options:
        hint = nearest(str(first["input"]), options)
        return line_of(text, path), f"{key}: {shown} is not valid; {hint}"
    return line_of(text, path), f"{key}: {shown}: {_expected(about)}"


def _most_telling(
    problem: ValidationError, document: object
) -> tuple[list[ErrorDetails], TomlPath]:
    """The complaints about the first thing that is wrong, the most telling one first, and where.

    A value that may have several types is complained about once for each. What lies deeper in it
    says more: somebody who writes a table means a table.
    """
    errors = problem.errors(include_url=False)
    paths = [_path_in(document, error) for error in errors]
    about = [number for number, path in enumerate(paths) if path[: len(paths[0])] == paths[0]]
    if errors[0]["type"] in _TELLING:
        # A key that is missing and one that nobody knows: the second is the first, misspelt.
        table = paths[0][:-1]
        about += [
            number
            for number, path in enumerate(paths)
            if path[:-1] == table and errors[number]["type"] == "extra_forbidden"
        ]

    def rank(number: int) -> tuple[int, int, int]:
        kind = errors[number]["type"]
        return -len(paths[number]), _TELLING.index(kind) if kind in _TELLING else 0, number

    best = min(about, key=rank)
    same = [number for number in about if paths[number] == paths[best] and number != best]
    return [errors[best], *(errors[number] for number in same)], paths[best]


def _expected(about: list[ErrorDetails]) -> str:
    """What was expected, in words; of a value that has none of its types, all of them."""
    others = [error for error in about if not error["type"].endswith("_type")]
    if others:
        words: str = others[0]["msg"]
        if others[0]["type"] == "too_short":
            return f"should have at least {others[0]['ctx']['min_length']}"
        if others[0]["type"] == "too_long":
            return f"should have at most {others[0]['ctx']['max_length']}"
        return words.removeprefix("Value error, ").removeprefix("Input ")
    names = dict.fromkeys(_NAMES_OF_TYPES.get(error["type"], error["msg"]) for error in about)
    return f"should be {' or '.join(names)}"


_NAMES_OF_TYPES = {
    "int_type": "a valid integer",
    "float_type": "a valid number",
    "string_type": "a valid string",
    "bool_type": "true or false",
    "list_type": "a valid list",
    "dict_type": "a table",
    "model_type": "a table",
}


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
    return shortened(repr(value), _SHOWN_CHARACTERS_MAX, lines=True)


def _path_in(document: object, error: ErrorDetails) -> TomlPath:
    """Pydantic's location without the names of types that it puts between and after keys."""
    path: TomlPath = ()
    parts = error["loc"]
    for place, part in enumerate(parts):
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and isinstance(part, int):
            element: object = document[part]
            document = element
        elif error["type"] != "missing" or place < len(parts) - 1:
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
