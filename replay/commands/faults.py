"""`kvreplay faults`: the fault vocabulary, the built-in plans, and a plan file's JSON Schema."""

from __future__ import annotations

import json

import click


@click.command(
    epilog="Example: kvreplay faults late-completion-after-timeout; "
    "kvreplay faults --schema > plan.schema.json"
)
@click.argument("name", required=False)
@click.option("--schema", "show_schema", is_flag=True, help="Print the plan's JSON Schema.")
@click.option("--json", "as_json", is_flag=True, help="Print everything, or NAME, as JSON.")
def faults(name: str | None, show_schema: bool, as_json: bool) -> None:
    """List what can go wrong with a completion event, and ready-made plans of it.

    NAME is a fault or a built-in plan: it is shown whole.
    """
    if show_schema:
        if name is not None:
            raise click.UsageError("--schema is of every plan: leave NAME out")
        from faults.plan_schema import plan_schema

        click.echo(json.dumps(plan_schema(), indent=2))
        return
    from replay.commands.printing import faults as faults_text
    from replay.commands.printing import faults_json

    if as_json:
        document = faults_json.everything() if name is None else faults_json.one(name)
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        lines = faults_text.everything() if name is None else faults_text.one(name)
        for line in lines:
            click.echo(line)
