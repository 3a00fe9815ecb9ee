"""`kvreplay shrink`: the smallest trace and plan with the same verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from replay.commands.options import FiniteRange, say, say_json, show_path


def shrink_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of whatever shrinks: `same_gap`, `budget_s`, `max_replays`, `restart`, `as_json`."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print shrunk.json instead of text."),
        click.option(
            "--restart", is_flag=True, help="Throw away what another shrink or hunt has left there."
        ),
        click.option(
            "--max-replays",
            type=click.IntRange(min=1),
            help="Candidates to try at most; then the best so far is written.",
        ),
        click.option(
            "--budget-s",
            type=FiniteRange(min=0),
            help="Seconds to search at most; then the best so far is written.",
        ),
        click.option(
            "--same-gap", is_flag=True, help="Keep the numbers of the gap exactly as they are."
        ),
    ):
        command = option(command)
    return command


@click.command(epilog="Example: kvreplay shrink out/recording -o smallest")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Where the result goes; DIR-shrunk by default.",
)
@click.option(
    "--trace", metavar="FILE", help="Where the trace of the recording is now, if it was moved."
)
@shrink_options
def shrink(
    directory: Path,
    out: Path | None,
    trace: str | None,
    same_gap: bool,
    budget_s: float | None,
    max_replays: int | None,
    restart: bool,
    as_json: bool,
) -> int:
    """Find the smallest trace and fault plan with the verdict and the kind of the recording DIR.

    Writes trace.parquet, plan.toml, a pytest file, a recording and shrunk.json. A shrink that was
    cut off goes on where it was when the same command is given again.
    """
    from replay.shrink.asked import Budget, ShrinkOptions, check_asked, open_recording

    recording = open_recording(directory)
    out = out or Path(f"{directory.resolve().name}-shrunk")
    options = ShrinkOptions(
        same_gap=same_gap,
        budget=Budget(replays=max_replays, seconds=budget_s),
        trace=trace,
        restart=restart,
    )
    check_asked(recording, options)
    shrunk = shrink_with_progress(recording, out, options)
    print_shrunk(shrunk, out, as_json)
    return 0


def shrink_with_progress(recording: Any, out: Path, options: Any) -> dict[str, Any]:
    """Shrink, with what is left so far on stderr when that is a terminal."""
    from replay.commands.printing.shrink import watching
    from replay.shrink.shrinker import shrink_recording

    try:
        with watching() as tell:
            return shrink_recording(recording, out, options, tell)
    except KeyboardInterrupt:
        say(
            f"what was tried is kept in {show_path(out)}; the same command goes on from there",
            err=True,
        )
        raise


def print_shrunk(shrunk: dict[str, Any], out: Path, as_json: bool) -> None:
    """Print what became of it."""
    from replay.commands.printing.shrink import print_text

    if as_json:
        say_json(shrunk)
    else:
        print_text(shrunk, out)
    say(f"reproduce: {shrunk['reproduce']}", err=True)
