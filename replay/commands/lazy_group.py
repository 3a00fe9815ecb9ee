"""A click group whose verbs are imported when they are used, not to list them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """Verbs by name, with their one-line helps and the function that imports one of them."""

    def __init__(
        self,
        *arguments: Any,
        verbs: Mapping[str, str],
        load: Callable[[str], click.Command],
        **settings: Any,
    ) -> None:
        """Take `verbs` and `load` beside what `click.Group` takes."""
        super().__init__(*arguments, **settings)
        self._verbs, self._load = verbs, load

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every verb, in the order of the tour."""
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one verb, or None when there is none of that name."""
        return self._load(cmd_name) if cmd_name in self._verbs else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the one-line helps without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._verbs.items()))
