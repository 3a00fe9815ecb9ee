"""A life as a person reads it in a terminal, within a hundred columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from replay.commands.options import say
from replay.explain.life import Life, Step, page_ranges, shown_steps
from replay.recording.reader import Recording
from replay.recording.words import place_words
from traces.text import shortened

_WIDTH = 100
#: Stretches of page numbers that a line shows.
_RANGES_MAX = 6
#: Characters of a text from outside that are shown, such as an id.
_TEXT_MAX = 300
_NAME_MAX = 60


def print_life(life: Life, recording: Recording, steps_max: int) -> None:
    """Print the headline, the facts and the steps."""
    say(f"{life.subject} {shortened(life.name, _NAME_MAX)}", bold=True)
    _print_wrapped(life.headline, colour="green" if life.blame is None else "red")
    for text in (life.chosen, life.note):
        if text:
            _print_wrapped(text, colour="cyan")
    for name, value in life.facts:
        say(f"  {name + ':':<16}{shortened(value, _NAME_MAX)}")
    shown = shown_steps(life, steps_max)
    places = {at: _place(life.steps[at].where, recording) for at in shown}
    width = max((len(place) for place in places.values()), default=0)
    say(f"\n   {'time, s':>13}  {'where':<{width}}  what")
    last = -1
    for at in shown:
        if at > last + 1:
            say(f"   {'...':>13}  {at - last - 1:,} steps left out")
        _print_step(life, at, places[at], width)
        last = at
    if last + 1 < len(life.steps):
        say(f"   {'...':>13}  {len(life.steps) - last - 1:,} steps left out")
    if len(shown) < len(life.steps):
        say(f"showing {len(shown):,} of {len(life.steps):,} steps; --steps 0 shows all")


def _print_step(life: Life, at: int, place: str, width: int) -> None:
    step = life.steps[at]
    is_blamed = at == life.blame
    mark, colour = (
        (">>", "red") if is_blamed else ("! ", "yellow") if step.departs else ("  ", None)
    )
    head = f"{mark} {step.time_us / 1e6:13.6f}  {place:<{width}}  "
    lines = textwrap.wrap(
        _words(step), _WIDTH - len(head), break_long_words=True, break_on_hyphens=False
    )
    for number, line in enumerate(lines or [""]):
        start = head if number == 0 else " " * len(head)
        say(f"{start}{line}", fg=colour, bold=is_blamed)


def _words(step: Step) -> str:
    """What a step says, whose it is, which pages, and where the recording has it."""
    words = (
        f"{shortened(step.request_id, _NAME_MAX)}: {step.what}" if step.request_id else step.what
    )
    if step.page_numbers:
        words += f" [{_numbers(step)}]"
    return shortened(f"{words}{''.join(f' ({each})' for each in references(step))}", _TEXT_MAX * 3)


def references(step: Step) -> Iterator[str]:
    """The rule that did it, and the event and the audit of the recording."""
    if step.rule is not None:
        yield f"{step.fault}: rule {step.rule!r}"
    if step.event is not None:
        yield f"event {step.event}" + (f", copy {step.copy}" if step.copy else "")
    if step.audit is not None:
        yield f"audit {step.audit}"


def _numbers(step: Step) -> str:
    ranges = page_ranges(step.page_numbers)
    told = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    return ", ".join(told[:_RANGES_MAX]) + (", ..." if len(told) > _RANGES_MAX else "")


def _place(where: str, recording: Recording) -> str:
    if "/" not in where:
        return where
    return place_words(where, recording.instances(where))


def _print_wrapped(text: str, colour: str) -> None:
    for line in textwrap.wrap(shortened(text, 10 * _TEXT_MAX), _WIDTH, break_on_hyphens=False):
        say(line, fg=colour)
