"""`kvreplay faults`: the fault kinds, and the keys of a plan file."""

from __future__ import annotations

import json

import click


@click.command(epilog="Example: kvreplay faults --schema > plan.schema.json")
@click.option("--schema", "show_schema", is_flag=True, help="Print the plan's JSON Schema.")
@click.option("--json", "as_json", is_flag=True, help="Print the kinds as JSON.")
def faults(show_schema: bool, as_json: bool) -> None:
    """List what can happen to a completion event, and how a plan file says so."""
    from faults.kinds import FAULT_MEANINGS
    from faults.plan_file import PlanFile, RuleEntry

    if show_schema:
        click.echo(json.dumps(PlanFile.model_json_schema(), indent=2))
        return
    if as_json:
        click.echo(json.dumps({"schema": "kvreplay.faults/1", "faults": FAULT_MEANINGS}, indent=2))
        return
    click.secho("Faults", bold=True)
    for kind, meaning in FAULT_MEANINGS.items():
        click.echo(f"  {kind:10} {meaning}")
    click.secho("Keys of a [[rule]] in a plan file", bold=True)
    for key, field in RuleEntry.model_fields.items():
        note = f"  {field.description}" if field.description else ""
        click.echo(f"  {key}{note}")
    click.echo(
        'Example:\n  [[rule]]\n  fault = "delay"\n  probability = 0.01\n  delay_us = 500_000'
    )
