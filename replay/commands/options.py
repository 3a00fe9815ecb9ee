"""Option parsing that several verbs share."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import click

from faults.chance import PROBABILITY_WORDS, checked_probability
from replay.verdict_words import VerdictName

VERDICTS: tuple[str, ...] = get_args(VerdictName)


class FiniteRange(click.FloatRange):
    """A number in a range; neither nan, which every comparison lets through, nor infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse, and refuse what is no number to reckon with."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number in the range {self._describe_range()}.", param, ctx)
        return number


class Probability(click.ParamType[float]):
    """A number between 0 and 1, both included."""

    name = "P"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse; click reports what is wrong, in the words that plans have for it."""
        try:
            return checked_probability(float(str(value)))
        except ValueError:
            self.fail(f"{value!r}: {PROBABILITY_WORDS}", param, ctx)


class ProbabilityAndDelay(click.ParamType[tuple[float, float]]):
    """`P:MS`: a probability and a delay in milliseconds."""

    name = "P:MS"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """Split and parse; click reports what is wrong."""
        if isinstance(value, tuple):
            return value
        probability, colon, delay_ms = str(value).partition(":")
        try:
            if not colon:
                raise ValueError
            milliseconds = float(delay_ms)
        except ValueError:
            self.fail(f"{value!r} is not PROBABILITY:MILLISECONDS, such as 0.01:500", param, ctx)
        return Probability().convert(probability, param, ctx), milliseconds


def parse_overrides(assignments: tuple[str, ...]) -> dict[str, str]:
    """Turn `FIELD=VALUE` texts into a dictionary; the profile checks names and values."""
    overrides: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise click.BadParameter(
                f"{assignment!r} is not FIELD=VALUE, such as page_size=16", param_hint="--set"
            )
        overrides[name.strip()] = value.strip()
    return overrides


def command_line(*words: object) -> str:
    """One line that a shell reads back as these words."""
    return shlex.join(str(word) for word in words)


def profile_changes(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that change a profile, `--set` and `--defect`: `assignments` and `defects`."""
    command = click.option(
        "--defect",
        "defects",
        multiple=True,
        metavar="NAME",
        help="Switch a known bug of real engines on, see `profiles`; repeatable.",
    )(command)
    return click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="FIELD=VALUE",
        help="Override a profile field.",
    )(command)


@contextmanager
def progress_bar(label: str, total: int) -> Iterator[Callable[[int], None] | None]:
    """A bar on stderr when that is a terminal, else None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda advance: bar.update(task, advance=advance)


def show_path(path: Path) -> str:
    """A path as the user would type it."""
    return shlex.quote(str(path))


def printable(text: str) -> str:
    """Text from a file or a path with whatever would move a terminal's cursor shown, not done."""
    return "".join(
        character
        if character.isprintable() or character == "\n"
        else character.encode("unicode_escape", "backslashreplace").decode()
        for character in text
    )
