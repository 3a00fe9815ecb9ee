"""What an observer is: it looks at a running pair, and changes nothing about its course.

A new oracle is an observer in `replay.watch.oracles`, and its reader with a line in
`replay.verdict.rules`. It reports numbers of run.json (`found`), or writes rows of a table.
Explanations and tests are observers too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from faults.events import RequestState
from replay.pair.deployment import Deployment
from replay.pair.ports import Watcher
from replay.pair.request import Request


class Observer(Watcher):
    """Told of every fact of one replay; each method does nothing unless an observer overrides it.

    Beside these facts there are those of the pair itself, see `replay.pair.ports.Watcher`.
    """

    #: What run.json calls it, where it has something to say there.
    name = ""

    def found(self) -> dict[str, Any]:
        """What run.json says of it under `oracles`, asked when the replay is over."""
        return {}

    # The facts.

    def begin(self, pair: Deployment) -> None:
        """The pair is built, and nothing has happened yet."""

    def phase_began(self, phase: str) -> None:
        """A phase begins: "inject", "heal" or "repeat-n"."""

    def phase_ended(self, phase: str) -> None:
        """A phase is over."""

    def replay_ended(self) -> None:
        """Nothing happens any more: write what is left to write."""

    def request_arrived(self, request: Request) -> None:
        """A request has come to the router, which is about to tell the ranks."""

    def wait_timed_out(self, request: Request, state: RequestState) -> None:
        """A request has waited too long in this state and is given up."""


_FACTS = tuple(
    name
    for base in (Watcher, Observer)
    for name in vars(base)
    if not name.startswith("_") and name not in ("name", "found")
)


class Observers(Observer):
    """All observers of one replay as one: each fact goes to those who look at it, in their order."""

    def __init__(self) -> None:
        self._members: tuple[Observer, ...] = ()

    def findings(self) -> dict[str, dict[str, Any]]:
        """What each has found, by its name."""
        return {each.name: each.found() for each in self._members if each.name}

    def join(self, members: Sequence[Observer]) -> None:
        """Have these told from now on. Methods are bound here, once: facts are frequent."""
        self._members = tuple(members)
        for fact in _FACTS:
            methods = [
                getattr(member, fact)
                for member in members
                if getattr(type(member), fact) is not getattr(Observer, fact)
            ]
            if methods:
                setattr(self, fact, methods[0] if len(methods) == 1 else _in_turn(methods))


def _in_turn(methods: list[Callable[..., None]]) -> Callable[..., None]:
    def tell(*fact: Any) -> None:
        for method in methods:
            method(*fact)

    return tell
