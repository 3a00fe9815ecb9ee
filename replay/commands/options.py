"""Option parsing that several verbs share."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import click

from faults.chance import PROBABILITY_WORDS, checked_probability
from replay.recording.kinds import VerdictName
from traces.text import json_text, shortened_lines

#: A longer line is cut: an id may have megabytes. A command line has less than this.
LINE_CHARACTERS_MAX = 20_000

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


def inputs_of(*references: str | Path | None) -> list[Path]:
    """The files that these name, such as `FILE#NAME`; what is no file does no harm."""
    return [Path(each) for name in references if name for each in (name, str(name).split("#")[0])]


def invocation(*without: str) -> str:
    """The command that runs and all its parameters, as one text that tells it from others."""
    context = click.get_current_context()
    values = {name: value for name, value in context.params.items() if name not in without}
    return f"{context.command_path} {sorted((name, str(values[name])) for name in values)}"


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


def say(text: str = "", *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """Print words, whatever strings from outside are in them; styles are those of `click.style`."""
    words = shortened_lines(text, LINE_CHARACTERS_MAX)
    click.echo(click.style(words, **style) if style else words, err=err, nl=nl)


def say_json(document: object, indent: int | None = 2) -> None:
    """Print a document for machines: true, whole, and harmless to a terminal."""
    takes_all = (sys.stdout.encoding or "").lower().startswith("utf")
    click.echo(json_text(document, indent) if takes_all else json.dumps(document, indent=indent))
