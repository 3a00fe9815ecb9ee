"""What verbs share: options, progress bars, and printing."""

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

#: Longer lines are cut: an id may have megabytes. Command lines are shorter than this.
LINE_CHARACTERS_MAX = 20_000

#: Exit codes of verbs that give a verdict, where it is neither expected nor harmless.
EXIT_OTHER_VERDICT, EXIT_INCONCLUSIVE = 1, 3

VERDICTS: tuple[str, ...] = get_args(VerdictName)


DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Device of the pools; auto takes CUDA where it is usable.",
)


class FiniteRange(click.FloatRange):
    """A number in a range, but not nan, which passes every comparison, nor infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse; refuse nan and infinity."""
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


def example(*lines: str) -> str:
    """An epilog that keeps its line breaks, so that it can be pasted."""
    # click keeps the line breaks of a paragraph that starts with a backspace.
    return "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))


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


def inputs_of(*references: str | Path | None) -> list[Path]:
    """The files that references such as `FILE#NAME` name; the paths need not exist."""
    return [Path(each) for name in references if name for each in (name, str(name).split("#")[0])]


def invocation(*without: str) -> str:
    """The running command and its parameters as one text, which no other command has."""
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
        help="Switch on a known bug of real engines (see `profiles`); repeatable.",
    )(command)
    return click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="FIELD=VALUE",
        help="Set a field of the profile (see `profiles NAME`); repeatable.",
    )(command)


@contextmanager
def progress_bars(*steps: tuple[str, int | None]) -> Iterator[list[Callable[..., None] | None]]:
    """A bar on stderr for each step (label, total); the functions that move them.

    A function takes how much is done and, where that was not known before, of how much. Without a
    terminal each of them is None.
    """
    if not sys.stderr.isatty():
        yield [None] * len(steps)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:

        def mover(label: str, total: int | None) -> Callable[..., None]:
            task = bars.add_task(label, total=total)
            return lambda done, total=total: bars.update(task, completed=done, total=total)

        yield [mover(label, total) for label, total in steps]


@contextmanager
def progress_bar(label: str, total: int) -> Iterator[Callable[[int], None] | None]:
    """One such bar; its function takes how much more is done."""
    with progress_bars((label, total)) as (move,):
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            if move is not None:
                move(done)

        yield None if move is None else advance


def show_path(path: Path) -> str:
    """A path as the user would type it."""
    return shlex.quote(str(path))


def say(text: str = "", *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """Print text, escaping what a terminal would obey; styles are those of `click.style`."""
    words = shortened_lines(text, LINE_CHARACTERS_MAX)
    click.echo(click.style(words, **style) if style else words, err=err, nl=nl)


def say_json(document: object, indent: int | None = 2) -> None:
    """Print a document as JSON: complete, and harmless to a terminal."""
    takes_all = (sys.stdout.encoding or "").lower().startswith("utf")
    click.echo(json_text(document, indent) if takes_all else json.dumps(document, indent=indent))
