"""A click group whose commands are imported when they are used, never to list them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """Commands by name, each (dotted name of a click command, one-line help)."""

    def __init__(
        self, *arguments: Any, lazy_commands: Mapping[str, tuple[str, str]], **settings: Any
    ) -> None:
        """Take `lazy_commands` beside what `click.Group` takes."""
        super().__init__(*arguments, **settings)
        self._lazy_commands = dict(lazy_commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every command, in the order of the tour."""
        return list(self._lazy_commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, or None when there is none of that name."""
        if cmd_name not in self._lazy_commands:
            return None
        dotted_name = self._lazy_commands[cmd_name][0]
        module_name, _, attribute = dotted_name.rpartition(".")
        command = getattr(importlib.import_module(module_name), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{dotted_name} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' one-line helps without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy_commands.items()])
