"""`kvreplay diagnose`: the same verdicts from a real server's log or its metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from replay.commands.options import (
    EXIT_INCONCLUSIVE,
    EXIT_OTHER_VERDICT,
    VERDICTS,
    FiniteRange,
    example,
    progress_bar,
    say,
    say_json,
)
from replay.commands.standard_streams import is_output_read

if TYPE_CHECKING:
    from replay.diagnosis.diagnose import Follower
    from replay.diagnosis.diagnosis import Diagnosis


@click.command(epilog=example("kvreplay diagnose prefill.log decode.log.1.gz decode.log"))
@click.argument("logs", metavar="LOG...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--expect", type=click.Choice(VERDICTS), help="Exit with 0 for this verdict only.")
@click.option(
    "--follow",
    metavar="FILE",
    help="Watch a growing log and print each change of the verdict, until Ctrl-C.",
)
@click.option(
    "--poll-s",
    type=FiniteRange(0.05, 86_400),
    default=1.0,
    show_default=True,
    help="With --follow: seconds between two reads of the file.",
)
@click.option(
    "--prometheus",
    "metrics",
    metavar="FILE",
    multiple=True,
    help="Scraped metrics (one or more scrapes), or the answer to a query_range; repeatable.",
)
def diagnose(
    logs: tuple[str, ...],
    as_json: bool,
    expect: str | None,
    follow: str | None,
    poll_s: float,
    metrics: tuple[str, ...],
) -> int:
    """Read server logs (LOG..., `-` is standard input) and give a verdict on their gaps.

    Reads logs of SGLang, sglang-jax, vLLM, vllm-ascend, TensorRT-LLM and LMCache: plain or gzip,
    rotated or mixed, of any size. Each rank and pool gets a verdict; the worst one is the result.

    Exit codes: 0 clean or transient (or as expected), 1 persistent (or other than expected), 2 no
    such log, 3 inconclusive. A closed pipe (`| head`) does not change the exit code.
    """
    if follow is not None:
        if logs or metrics:
            raise click.UsageError("--follow FILE watches one log: leave LOG and --prometheus out")
        return _follow(follow, poll_s, as_json, expect)
    if not logs and not metrics:
        raise click.UsageError("name a log (`-` for standard input), --prometheus or --follow FILE")
    found = _diagnose(logs, metrics)
    _print(found, as_json)
    return exit_code(found, expect)


def exit_code(diagnosis: Diagnosis, expect: str | None) -> int:
    """0 as expected, 1 another verdict or persistent, 3 inconclusive."""
    verdict = diagnosis.worst.verdict
    if expect is not None:
        return 0 if verdict == expect else EXIT_OTHER_VERDICT
    if verdict == "persistent":
        return EXIT_OTHER_VERDICT
    return EXIT_INCONCLUSIVE if verdict == "inconclusive" else 0


def _diagnose(logs: tuple[str, ...], metrics: tuple[str, ...]) -> Diagnosis:
    from replay.diagnosis.reading.sources import check_readable, open_logs

    sources = open_logs(logs) if logs else []
    for name in metrics:
        check_readable(name)
    # Loads polars: after what can be wrong.
    from replay.diagnosis.diagnose import diagnose

    total = sum(source.size_bytes or 0 for source in sources)
    with progress_bar("bytes", total) as advance:
        return diagnose(sources, metrics, advance)


def _follow(name: str, poll_s: float, as_json: bool, expect: str | None) -> int:
    import time

    from replay.diagnosis.reading.sources import check_readable

    check_readable(name)
    from replay.diagnosis.diagnose import Follower

    follower = Follower(name)
    last: list[Diagnosis] = []

    def show(diagnosis: Diagnosis) -> None:
        last[:] = [diagnosis]
        if not as_json:
            say(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} ", nl=False)
        _print(diagnosis, as_json)
        if not is_output_read():
            # There would be no end: it is for whoever reads to stop it.
            raise click.exceptions.Exit(exit_code(diagnosis, expect))

    try:
        watch(follower, show, lambda: time.sleep(poll_s))
    except KeyboardInterrupt:
        follower.finish()
        diagnosis = follower.diagnosis()
        say(f"kvreplay: stopped watching {name}", err=True)
        show(diagnosis)
    return exit_code(last[0], expect)


def watch(follower: Follower, show: Callable[[Diagnosis], None], wait: Callable[[], None]) -> None:
    """Show each diagnosis that differs from the one before in what it says, until interrupted."""
    shown = None
    # What is there already may end in the middle of a message, which the next look takes for whole.
    follower.poll()
    wait()
    while True:
        if follower.poll() or shown is None:
            diagnosis = follower.diagnosis()
            told = diagnosis.summary
            if told != shown:
                shown = told
                show(diagnosis)
        wait()


def _print(diagnosis: Diagnosis, as_json: bool) -> None:
    if as_json:
        say_json(diagnosis.to_dict(), indent=None)
        return
    from replay.commands.printing.diagnosis import print_diagnosis

    print_diagnosis(diagnosis)
