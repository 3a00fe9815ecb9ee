"""`kvreplay trace slice`: write a part of a trace."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import click

from replay.commands.options import Probability, example, progress_bars, say
from replay.commands.trace.shared import FORCE, JSON, OUTPUT, print_made

# Beyond this a float of seconds has no exact microseconds: 285 years.
_SECONDS_MAX = 2**53 / 1e6


def _microseconds(
    context: click.Context, parameter: click.Parameter, seconds: float | None
) -> int | None:
    if seconds is None:
        return None
    if not 0 <= seconds <= _SECONDS_MAX:
        raise click.BadParameter(f"{seconds} is not a time from 0 to {_SECONDS_MAX:.0f} seconds.")
    return round(seconds * 1e6)


def _speed(context: click.Context, parameter: click.Parameter, text: str) -> Fraction:
    # A decimal number is kept exactly; 0.1 as a float is not a tenth.
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?|\.[0-9]{1,6}", text):
        raise click.BadParameter(f"{text!r} is not a number like 2 or 0.25 (six decimals at most).")
    return Fraction(text)


@click.command(
    "slice",
    epilog=example(
        "kvreplay trace slice day.parquet -o rush.parquet --from 3600 --until 4200 --speed 2",
        "kvreplay trace slice day.parquet -o small.parquet --sample 0.05 --seed 7 --head 10000",
    ),
)
@click.argument("trace_path", metavar="TRACE", type=click.Path(path_type=Path))
@OUTPUT
@click.option(
    "--from",
    "from_us",
    type=float,
    default=0.0,
    callback=_microseconds,
    metavar="S",
    help="Keep requests that arrive at S seconds of trace time or later; S becomes time 0.",
)
@click.option(
    "--until",
    "until_us",
    type=float,
    callback=_microseconds,
    metavar="S",
    help="Keep requests that arrive before S seconds of trace time.",
)
@click.option("--keep-times", is_flag=True, help="With --from: keep the original times.")
@click.option(
    "--session",
    "sessions",
    multiple=True,
    metavar="ID",
    help="Keep the requests of this session; repeatable.",
)
@click.option(
    "--sample",
    "sample_share",
    type=Probability(),
    metavar="SHARE",
    help="Keep about this share (above 0, up to 1) of the sessions, each whole, and of the requests "
    "without a session. With one seed, a smaller share is a subset of a larger one.",
)
@click.option("--seed", default=0, show_default=True, metavar="N", help="Seed of the sample.")
@click.option("--head", "requests_max", type=int, metavar="N", help="Keep the first N requests.")
@click.option(
    "--speed",
    default="1",
    callback=_speed,
    metavar="X",
    help="Divide arrival times by X: 2 doubles the rate. The time from arrival to cancel stays the "
    "same, because a client's patience does not depend on the load.",
)
@FORCE
@JSON
def slice_verb(
    trace_path: Path,
    output: Path,
    from_us: int,
    until_us: int | None,
    keep_times: bool,
    sessions: tuple[str, ...],
    sample_share: float | None,
    seed: int,
    requests_max: int | None,
    speed: Fraction,
    force: bool,
    as_json: bool,
) -> None:
    """Write a part of a trace, or all of it at another rate.

    Filters apply in this order: time, session, sample, head; then speed. If no request is left,
    nothing is written and the exit code is 2.
    """
    from traces.slice_options import SliceOptions

    options = SliceOptions(
        from_us=from_us,
        until_us=until_us,
        sessions=frozenset(sessions) or None,
        sample_share=sample_share,
        sample_seed=seed,
        requests_max=requests_max,
        speed=speed,
        keep_times=keep_times,
    )
    from traces.dataset import open_trace
    from traces.slicing import slice_trace

    whole = open_trace(trace_path).request_count
    with progress_bars(("Reading requests", whole)) as (advance,):
        written = slice_trace(trace_path, output, options, advance, force=force)
    if not as_json:
        say(f"{output}: {written} of {whole} requests")
        return
    print_made(output, requests=written, requests_before=whole)
