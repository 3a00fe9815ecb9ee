"""`kvreplay profiles`: the engine profiles, what differs between them, and their known bugs."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from replay.commands.options import example

if TYPE_CHECKING:
    from replay.profiles.defects import Defect
    from replay.profiles.profile import EngineProfile


@click.command(epilog=example("kvreplay profiles sglang-0.4.6.post4"))
@click.argument("names", nargs=-1)
@click.option(
    "--json", "as_json", is_flag=True, help="Print every profile, field and known bug as JSON."
)
def profiles(names: tuple[str, ...], as_json: bool) -> None:
    """List the engine profiles and the known bugs, or show the fields of the profiles NAMES.

    `run` and `reproduce` set any field with `--set FIELD=VALUE`, and switch on any bug in any
    profile with `--defect NAME`.
    """
    from replay.profiles.catalogue import builtin_profiles, find_profile
    from replay.profiles.defects import all_defects

    chosen = [find_profile(name) for name in names] or list(builtin_profiles().values())
    defects = list(all_defects().values())
    if as_json:
        document = {
            "schema": "kvreplay.profiles/1",
            "profiles": [profile.to_dict() for profile in chosen],
            "fields": _fields(),
            "defects": [dataclasses.asdict(defect) for defect in defects],
        }
        click.echo(json.dumps(document, indent=2))
        return
    for profile in chosen:
        _print_profile(profile, with_fields=bool(names))
    if not names:
        _print_defects(defects, chosen)


def _fields() -> list[dict[str, Any]]:
    """Every profile field: its type, default, meaning, and where its behaviour was read."""
    from replay.profiles.profile import EngineProfile

    return [
        {
            "name": field.name,
            "type": str(field.type),
            "default": field.default,
            "meaning": field.metadata["meaning"],
            "source": field.metadata["source"],
        }
        for field in dataclasses.fields(EngineProfile)
        if field.metadata
    ]


def _print_profile(profile: EngineProfile, with_fields: bool) -> None:
    from replay.profiles.overrides import as_text

    click.secho(profile.name, bold=True)
    click.echo(f"  {profile.description}")
    if not with_fields:
        return
    for field in _fields():
        value = getattr(profile, field["name"])
        differs = value != field["default"]
        click.secho(f"  {field['name']} = {as_text(value) or '(none)'}", bold=differs)
        click.echo(f"      {field['meaning']}")
        if field["source"]:
            click.echo(f"      [{field['source']}]")


def _print_defects(defects: list[Defect], profiles: list[EngineProfile]) -> None:
    click.secho("Known bugs, for --defect", bold=True)
    for defect in defects:
        click.echo(f"  {defect.name}  ({defect.mode})")
        click.echo(f"      {defect.meaning}")
        if defect.needs:
            click.echo(f"      needs {defect.needs}")
        having = ", ".join(each.name for each in profiles if defect.name in each.defects)
        if having:
            click.echo(f"      in {having}")
        click.echo(f"      {' '.join(defect.reports)}")
