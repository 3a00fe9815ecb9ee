"""`kvreplay doctor`: what this machine has, and which pools fit on it."""

from __future__ import annotations

import json
from typing import Any

import click

from replay.commands.options import DEVICE, example, parse_overrides


@click.command(
    epilog=example(
        "kvreplay doctor --profile hardened --device cuda --set kv_bytes_per_token=70272"
    )
)
@click.option(
    "--profile",
    "profile_name",
    default="hardened",
    show_default=True,
    help="Engine profile (see `profiles`).",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Set a field of the profile; repeatable.",
)
@DEVICE
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def doctor(profile_name: str, assignments: tuple[str, ...], device: str, as_json: bool) -> int:
    """Show the installed versions, the devices, and whether the pools of a profile fit.

    No trace and no CUDA is needed. Exit codes: 0 the pools fit, 1 they do not, 2 bad input.
    """
    from replay.profiles.catalogue import find_profile
    from replay.profiles.overrides import override

    profile = override(find_profile(profile_name), parse_overrides(assignments))
    # These load torch, which takes seconds: after what can be wrong.
    from replay.run.device import choose_device
    from replay.run.doctor import diagnose

    document = diagnose(profile, choose_device(device))
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        _print_machine(document)
        _print_pools(document)
        _print_models(document)
    return 0 if document["fits"] else 1


def _print_machine(document: dict[str, Any]) -> None:
    from replay.profiles.footprint import show_bytes

    click.secho("This machine", bold=True)
    click.echo(f"  {document['machine']['system']}")
    versions = document["versions"] | document["optional"]
    present = [f"{name} {number}" for name, number in versions.items() if number is not None]
    click.echo(f"  {', '.join(present)}")
    if missing := [name for name, number in versions.items() if number is None]:
        needless = all(name in document["optional"] for name in missing)
        note = " (only tests need that)" if needless else ""
        click.echo(f"  not installed: {', '.join(missing)}{note}")
    for device in document["devices"]:
        sizes = f"{show_bytes(device['free_bytes'])} free of {show_bytes(device['total_bytes'])}"
        click.echo(f"  {device['device']}: {device['name']}, {sizes}")
    cuda = document["cuda"]
    said = f"usable, torch is built for {cuda['built_for']}" if cuda["usable"] else cuda["why"]
    click.echo(f"  CUDA: {said}")


def _print_pools(document: dict[str, Any]) -> None:
    from replay.profiles.footprint import MARGIN, show_bytes

    profile, device = document["profile"], document["device"]
    click.secho(f"Pools of {profile['name']} on {device['name']}", bold=True)
    click.echo(
        f"  pages of {profile['page_size']} tokens, {8 * profile['kv_words_per_page']:,} bytes of "
        f"contents each (kv_bytes_per_token={profile['kv_bytes_per_token']})"
    )
    for side in document["pools"]:
        click.echo(
            f"  {side['pools']} x {side['side']}, {side['tokens']:,} tokens: contents "
            f"{show_bytes(side['contents_bytes'])}, writers {show_bytes(side['writers_bytes'])}, "
            f"ledger {show_bytes(side['ledger_bytes'])}, block table "
            f"{show_bytes(side['block_table_bytes'])}; each {show_bytes(side['pool_bytes'])}"
        )
        click.echo(
            f"    may grow: block table to {show_bytes(side['block_table_grown_bytes'])} (every "
            f"slot taken, a request of {document['longest_request_tokens']:,} tokens), free list "
            f"to {show_bytes(side['free_list_grown_bytes'])}"
        )
    if device["name"] == "cpu":
        click.echo("  on a CPU memory is taken as pages are written; this is what they all take")
    sizes = (
        f"{show_bytes(document['needed_bytes'])} needed, {show_bytes(device['free_bytes'])} free"
    )
    verdict, colour = ("fits", "green") if document["fits"] else ("DOES NOT FIT", "red")
    click.secho(f"  {verdict}", fg=colour, bold=True, nl=False)
    click.echo(f": {sizes}, of which {MARGIN:.0%} are left alone")
    widest = document["widest_kv_bytes_per_token"]
    if widest is None:
        click.echo("  not even the narrowest KV fits; make total_tokens smaller")
    else:
        click.echo(f"  widest KV that fits: kv_bytes_per_token={widest}")


def _print_models(document: dict[str, Any]) -> None:
    click.secho(
        f"KV of real models, and how many tokens fit on {document['device']['name']} in all",
        bold=True,
    )
    width = max(len(each["model"]) for each in document["models"])
    for each in document["models"]:
        click.echo(
            f"  {each['model']:{width}}  {each['bytes_per_token']:>9,} bytes a token  "
            f"{each['tokens']:>13,} tokens  = {each['formula']}"
        )
    click.echo(
        "  whole models in bf16; a tensor-parallel rank keeps its share of the KV heads only"
    )
