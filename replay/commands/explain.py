"""`kvreplay explain`: the life of one request or one page."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replay.commands.options import DEVICE, example, progress_bar, say_json

if TYPE_CHECKING:
    from replay.explain.life import Life
    from replay.recording.reader import Recording


@click.command(epilog=example("kvreplay explain kvreplay-demo/dropped"))
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--request",
    "wanted",
    metavar="R",
    help="Id of the request, or a prefix of it; R#1 is the request in the first repeat cycle.",
)
@click.option("--page", metavar="P", help="A page as POOL:NUMBER, such as decode0/dp3:412.")
@click.option("--pool", metavar="POOL", help="The pool, where --page is only a number.")
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Current path of the trace, if it was moved.",
)
@click.option(
    "--tables-only",
    is_flag=True,
    help="Do not replay; show only what the tables of the recording hold.",
)
@click.option(
    "--steps",
    "steps_max",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    help="Show at most this many steps, those around the cause; 0 shows all.",
)
@DEVICE
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON instead of text (see docs/explain.md)."
)
def explain(
    directory: Path,
    wanted: str | None,
    page: str | None,
    pool: str | None,
    trace: Path | None,
    tables_only: bool,
    steps_max: int,
    device: str,
    as_json: bool,
) -> None:
    """Explain one request or page of the recording DIR step by step, and where it went wrong.

    The default is the request that is to blame for the worst episode. The recording is replayed to
    observe what its tables do not hold: every state and every page.

    Exit codes: 0 explained, 2 no such recording, request or page, 4 internal error.
    """
    if wanted is not None and page is not None:
        raise click.UsageError("give --request or --page, not both")
    if page is None and pool is not None:
        raise click.UsageError("--pool goes with --page")
    if page is not None and tables_only:
        raise click.UsageError("the tables do not hold the pages' lives; leave --tables-only out")
    from replay.recording.reader import Recording

    recording = Recording.open(directory)
    if page is not None:
        life = _page(recording, page, pool, trace, device)
    else:
        life = _request(recording, wanted, trace, device, tables_only)
    if as_json:
        from replay.explain.life import life_document

        document = life_document(life, str(directory), steps_max)
        say_json(document)
        return
    from replay.commands.printing.explain import print_life

    print_life(life, recording, steps_max)


def _request(
    recording: Recording, wanted: str | None, trace: Path | None, device: str, tables_only: bool
) -> Life:
    """The life of a request; as fine as the tables are where it cannot be replayed."""
    from replay.errors import USER_ERRORS
    from replay.explain.request_life import read_request, request_life
    from replay.explain.subject import choose_request, find_request
    from replay.recording.sightings import Watch
    from replay.run.watch_again import watch_again

    chosen = ""
    if wanted is None:
        wanted, chosen = choose_request(recording)
    else:
        wanted = find_request(recording, wanted)
    facts = read_request(recording, wanted)
    sighted, note = None, "States and pages are only as fine as the tables, as was asked for."
    if not tables_only:
        try:
            watch = Watch(request_id=wanted)
            sighted, note = watch_again(recording, watch, _progress, trace, device), ""
        except USER_ERRORS as problem:
            if trace is not None:
                raise
            note = f"States and pages are only as fine as the tables; to replay it: {problem}."
    return dataclasses.replace(request_life(facts, sighted, note), chosen=chosen)


def _page(
    recording: Recording, text: str, pool: str | None, trace: Path | None, device: str
) -> Life:
    """The life of a page, for which the recording is replayed."""
    from replay.explain.page_life import page_life
    from replay.explain.subject import find_page
    from replay.recording.sightings import Watch
    from replay.run.watch_again import watch_again

    page = find_page(recording, text, pool)
    watch = Watch(pool=page.pool, page=page.number)
    return page_life(recording, page, watch_again(recording, watch, _progress, trace, device))


def _progress(total: int) -> AbstractContextManager[Callable[[int], None] | None]:
    return progress_bar("replaying", total)
