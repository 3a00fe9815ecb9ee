"""`kvreplay faults`: the vocabulary of faults, the built-in plans, and the JSON Schema of plans."""

from __future__ import annotations

import json

import click


@click.command(
    epilog="Example: kvreplay faults late-completion-after-timeout; "
    "kvreplay faults --schema > plan.schema.json"
)
@click.argument("name", required=False)
@click.option("--schema", "show_schema", is_flag=True, help="Print the JSON Schema of plan files.")
@click.option("--json", "as_json", is_flag=True, help="Print everything, or NAME, as JSON.")
def faults(name: str | None, show_schema: bool, as_json: bool) -> None:
    """List what can go wrong with a completion event, and ready-made plans of it.

    NAME is a fault or a built-in plan, of which everything is shown.
    """
    if show_schema:
        if name is not None:
            raise click.UsageError("--schema describes all plan files: leave NAME out")
        from faults.plan_schema import plan_schema

        click.echo(json.dumps(plan_schema(), indent=2))
        return
    from replay.commands.printing import faults as printing

    if as_json:
        document = printing.everything_as_json() if name is None else printing.one_as_json(name)
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        for line in printing.everything() if name is None else printing.one(name):
            click.echo(line)
