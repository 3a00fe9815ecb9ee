"""The cells of a matrix: every combination of its axes, less what is excluded, plus what is included."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from faults.toml.errors import nearest
from replay.run.matrix_axes import AXES
from replay.run.matrix_file import MatrixSource, Pattern, settings_texts
from replay.run.options import RunOptions

#: More cells than this are a mistake in the file, not a matrix that anybody waits for.
CELLS_MAX = 100_000
_SLUG_CHARACTERS_MAX = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One replay of a matrix."""

    #: From 1, in the order of the file; the same in every shard.
    number: int
    #: The values of the axes that the file gives, in a fixed order.
    name: str
    #: Every axis as the text that patterns are matched with and that results show.
    axes: Mapping[str, str]
    options: RunOptions
    #: The axis that sets each profile field of `options.settings`.
    set_by: Mapping[str, str]
    #: Line of the table that asks for this cell.
    line: int | None
    #: Where each axis' value stands in the file.
    places: Mapping[str, tuple[str | int, ...]]

    @property
    def slug(self) -> str:
        """A file name: the cell's name in safe characters, and a part of its hash."""
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:8]
        words = re.sub(r"[A-Za-z_]+=", "", self.name)
        safe = re.sub(r"[^A-Za-z0-9.]+", "-", words).strip("-.")[:_SLUG_CHARACTERS_MAX]
        return f"{safe}-{digest}" if safe else digest

    def is_in_shard(self, shard: tuple[int, int]) -> bool:
        """Whether shard `(i, n)` has this cell, by the hash of its name."""
        index, count = shard
        digest = hashlib.sha256(self.name.encode()).digest()
        return int.from_bytes(digest[:8], "big") % count == index - 1


@dataclass(frozen=True, slots=True)
class _Value:
    """A value of an axis, and where it stands in the file."""

    value: Any
    place: tuple[str | int, ...]


def make_cells(source: MatrixSource, warn: Callable[[str], None]) -> tuple[Cell, ...]:
    """All cells of a matrix file, in its order.

    Raises:
        MatrixError: an axis repeats a value or names something unknown, two cells have one name, or
            there are too many or none.
    """
    axes = _axis_values(source)
    _check_count(source, axes)
    maker = _CellMaker(source, axes)
    cells = [
        cell for cell in maker.combinations() if not _is_excluded(source, cell, maker.excluded)
    ]
    for place, removed in enumerate(maker.excluded):
        if not removed:
            warn(source.at(f"exclude[{place + 1}] removes no cell", "exclude", place))
    cells += [maker.included(place) for place in range(len(source.file.include))]
    seen: dict[str, Cell] = {}
    for cell in cells:
        if cell.name in seen:
            raise source.error(
                f"this is the same cell as one of line {seen[cell.name].line}: {cell.name}",
                *cell.places["table"],
            )
        seen[cell.name] = cell
    if not cells:
        raise source.error("no cell is left: everything is excluded", "exclude")
    return tuple(
        dataclasses.replace(cell, number=number) for number, cell in enumerate(cells, start=1)
    )


def _axis_values(source: MatrixSource) -> dict[str, list[_Value]]:
    """The values of every axis that the file gives."""
    axes: dict[str, list[_Value]] = {}
    for axis in AXES:
        values = getattr(source.file.axes, axis)
        if values is None and axis == "trace":
            axes[axis] = [_Value(name, ("trace", name)) for name in source.file.trace]
            continue
        if values is None:
            continue
        axes[axis] = []
        seen: set[str] = set()
        for place, value in enumerate(values):
            where = ("axes", axis, place)
            if text_of(axis, value) in seen:
                raise source.error(f"axes.{axis}: {text_of(axis, value)} is there twice", *where)
            seen.add(text_of(axis, value))
            _check_settings_name(source, axis, value, where)
            axes[axis].append(_Value(value, where))
    if not axes["trace"]:
        raise source.error("axes.trace: missing, and the file has no [trace.NAME] either", "axes")
    return axes


def _check_settings_name(
    source: MatrixSource, axis: str, value: object, where: tuple[str | int, ...]
) -> None:
    if axis != "settings" or not isinstance(value, str) or value == "none":
        return
    if value not in source.file.settings:
        hint = nearest(value, [*source.file.settings, "none"])
        raise source.error(f"{where[0]}.settings: no table [settings.{value}]; {hint}", *where)


def _check_count(source: MatrixSource, axes: Mapping[str, list[_Value]]) -> None:
    count = math.prod(len(values) for values in axes.values()) + len(source.file.include)
    count += source.file.swarm * math.prod(len(values) for values in _swarm_axes(axes).values())
    if count > CELLS_MAX:
        raise source.error(f"{count} cells; a matrix has at most {CELLS_MAX}", "axes")


def _swarm_axes(axes: Mapping[str, list[_Value]]) -> dict[str, list[_Value]]:
    """The axes that are combined with the seeds of a swarm, which draw the others."""
    return {
        axis: values for axis, values in axes.items() if AXES[axis].drawn is None and axis != "seed"
    }


class _CellMaker:
    """Makes cells of one file; counts what each exclude removes."""

    def __init__(self, source: MatrixSource, axes: Mapping[str, list[_Value]]) -> None:
        self._source = source
        self._axes = axes
        self.excluded = [0] * len(source.file.exclude)

    def combinations(self) -> Iterator[Cell]:
        """Every combination of all axes, then the swarm's."""
        for values in itertools.product(*self._axes.values()):
            yield self._cell(dict(zip(self._axes, values, strict=True)), ("axes",))
        if not self._source.file.swarm:
            return
        axes = _swarm_axes(self._axes)
        axes["seed"] = [_Value(seed, ("swarm",)) for seed in range(self._source.file.swarm)]
        for values in itertools.product(*axes.values()):
            yield self._cell(dict(zip(axes, values, strict=True)), ("swarm",), swarm=True)

    def included(self, place: int) -> Cell:
        """The cell of one `[[include]]`: its own values, and the first of each other axis."""
        where, entry = ("include", place), self._source.file.include[place]
        values = {axis: each[0] for axis, each in self._axes.items()}
        for axis in AXES:
            value = getattr(entry, axis)
            if value is not None:
                _check_settings_name(self._source, axis, value, (*where, axis))
                values[axis] = _Value(value, (*where, axis))
        return self._cell({axis: values[axis] for axis in AXES if axis in values}, where)

    def _cell(
        self, values: Mapping[str, _Value], table: tuple[str | int, ...], swarm: bool = False
    ) -> Cell:
        texts = {
            name: text_of(name, values[name].value) if name in values else axis.absent
            for name, axis in AXES.items()
        }
        words = [f"{axis}={texts[axis]}" for axis in AXES if axis in values and axis != "seed"]
        words += ["swarm"] if swarm else []
        words += [f"seed={texts['seed']}"] if "seed" in values else []
        settings, set_by = self._settings(values)
        return Cell(
            number=0,
            name=" ".join(words),
            axes=texts | {"swarm": str(swarm).lower()},
            options=self._options(values, settings, swarm),
            set_by=set_by,
            line=self._source.line(*table),
            places={axis: each.place for axis, each in values.items()} | {"table": table},
        )

    def _options(
        self, placed: Mapping[str, _Value], settings: Mapping[str, str], swarm: bool
    ) -> RunOptions:
        run = self._source.file.run
        values = {axis: each.value for axis, each in placed.items()}
        return RunOptions(
            trace=self._reference("trace", values["trace"]),
            profile=values["profile"],
            defects=tuple(values.get("defects", ())),
            settings=tuple(settings.items()),
            plan=self._plan(values.get("plan", "none")),
            seed=values.get("seed", 0),
            repeat=run.repeat,
            heal_budget_s=run.heal_budget_s,
            every_step=run.audit == "every-step",
            stop_on_engine_error=run.stop_on_engine_error,
            swarm=swarm,
        )

    def _settings(self, placed: Mapping[str, _Value]) -> tuple[dict[str, str], dict[str, str]]:
        """The profile fields that a cell sets, none of them twice; and which axis sets each."""
        named = placed.get("settings")
        settings = {} if named is None else settings_texts(self._source, named.value)
        set_by = dict.fromkeys(settings, "settings")
        # The topology last, as lines that reproduce cells have had it.
        for name, axis in sorted(AXES.items(), key=lambda item: item[0] == "topology"):
            if axis.fields is None or name not in placed:
                continue
            texts = axis.fields.to_settings(placed[name].value)
            if named is not None and (twice := sorted(settings.keys() & texts)):
                text = text_of("settings", named.value)
                raise self._source.error(
                    f"settings: {text} sets {twice[0]}, and so does the axis {name}; "
                    "leave it out of one",
                    *named.place,
                )
            settings |= texts
            set_by |= dict.fromkeys(texts, name)
        return settings, set_by

    def _plan(self, name: str) -> str | None:
        if name == "none":
            return None
        return name if name.startswith("builtin:") else self._reference("plan", name)

    def _reference(self, table: str, name: str) -> str:
        """A table of this file as `FILE#NAME`, or a path from the file's folder."""
        if name in getattr(self._source.file, table):
            return f"{_as_argument(str(self._source.path))}#{name}"
        return _as_argument(os.path.normpath(Path(self._source.path).parent / name))


def _as_argument(path: str) -> str:
    """The path in words that no command line takes for an option."""
    return f".{os.sep}{path}" if path.startswith("-") else path


def _is_excluded(source: MatrixSource, cell: Cell, excluded: list[int]) -> bool:
    hits = [
        place for place, pattern in enumerate(source.file.exclude) if matches(pattern, cell.axes)
    ]
    for place in hits:
        excluded[place] += 1
    return bool(hits)


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
