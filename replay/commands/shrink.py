"""`kvreplay shrink`: the smallest trace and plan with the same verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from replay.commands.options import FiniteRange, example, say, say_json, show_path


def shrink_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of whatever shrinks: `same_gap`, `budget_s`, `max_replays`, `restart`, `as_json`."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print shrunk.json instead of text."),
        click.option(
            "--restart", is_flag=True, help="Discard what an earlier shrink or hunt left in OUT."
        ),
        click.option(
            "--max-replays",
            type=click.IntRange(min=1),
            help="Try at most this many candidates, then write the smallest so far.",
        ),
        click.option(
            "--budget-s",
            type=FiniteRange(min=0),
            help="Search for at most this many seconds, then write the smallest so far.",
        ),
        click.option("--same-gap", is_flag=True, help="Keep the exact numbers of the gap."),
    ):
        command = option(command)
    return command


@click.command(epilog=example("kvreplay shrink kvreplay-demo/dropped -o smallest"))
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Directory of the result. [default: DIR-shrunk]",
)
@click.option("--trace", metavar="FILE", help="Current path of the trace, if it was moved.")
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

    Writes trace.parquet, plan.toml, a pytest file, a recording and shrunk.json. An interrupted
    shrink continues when the same command is given again.
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
    """Shrink, showing the smallest case so far on stderr when that is a terminal."""
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
    """Print the result of a shrink."""
    from replay.commands.printing.shrink import print_text

    if as_json:
        say_json(shrunk)
    else:
        print_text(shrunk, out)
    say(f"reproduce: {shrunk['reproduce']}", err=True)
