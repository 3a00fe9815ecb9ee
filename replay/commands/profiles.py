"""`kvreplay profiles`: the engine profiles and what differs between them."""

from __future__ import annotations

import json

import click


@click.command(epilog="Example: kvreplay profiles --json")
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print every field of every profile.")
def profiles(names: tuple[str, ...], as_json: bool) -> None:
    """List the built-in engine profiles, or show the fields of some of them.

    Any field can be overridden with `--set FIELD=VALUE` on `run` and `reproduce`.
    """
    from replay.profile_catalogue import builtin_profiles, find_profile

    chosen = [find_profile(name) for name in names] or list(builtin_profiles().values())
    if as_json:
        documents = [profile.to_dict() for profile in chosen]
        click.echo(json.dumps({"schema": "kvreplay.profiles/1", "profiles": documents}, indent=2))
        return
    for profile in chosen:
        click.secho(profile.name, bold=True)
        click.echo(f"  {profile.description}")
        if names:
            for field, value in profile.to_dict().items():
                if field not in ("name", "description"):
                    click.echo(f"  {field} = {value}")
