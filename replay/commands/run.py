"""`kvreplay run`: replay a trace under faults and give a verdict."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replay.commands.options import (
    DEVICE,
    EXIT_INCONCLUSIVE,
    EXIT_OTHER_VERDICT,
    VERDICTS,
    FiniteRange,
    Probability,
    ProbabilityAndDelay,
    example,
    inputs_of,
    parse_overrides,
    profile_changes,
    progress_bar,
    say,
    say_json,
)
from replay.commands.suppression_options import (
    judge_accepted,
    judging,
    read_accepted,
    suppression_options,
)

if TYPE_CHECKING:
    from replay.verdict.findings.gate import Judged


@click.command(
    epilog=example(
        "kvreplay run kvreplay-demo/trace.parquet --profile sglang-0.4.6.post4 --drop 0.002"
    )
)
@click.argument("trace", type=click.Path())
@click.option("--profile", "profile_name", required=True, help="Engine profile (see `profiles`).")
@profile_changes
@click.option(
    "--plan",
    metavar="FILE|builtin:NAME",
    help="Fault plan: a TOML file, a built-in plan (see `faults`), or MATRIX.toml#NAME.",
)
@click.option(
    "--drop", type=Probability(), metavar="P", help="Lose completions with probability P."
)
@click.option(
    "--delay",
    type=ProbabilityAndDelay(),
    help="Delay completions by MS milliseconds with probability P.",
)
@click.option(
    "--duplicate",
    type=Probability(),
    metavar="P",
    help="Deliver completions twice with probability P.",
)
@click.option(
    "--swarm",
    is_flag=True,
    help="Draw a topology, faults with their rates, and client aborts from the seed.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the faults; the same seed gives the same recording.",
)
@click.option(
    "--repeat",
    type=click.IntRange(0, 1000),
    default=0,
    show_default=True,
    help="Replay the trace this many more times without faults, to tell a one-off gap from a growing "
    "one (needs 3 or more).",
)
@click.option(
    "--heal-budget",
    "heal_budget_s",
    type=FiniteRange(min=0, max=1e9),
    default=600.0,
    show_default=True,
    help="Virtual seconds for late events and timeouts after the faults end.",
)
@DEVICE
@click.option(
    "--audit",
    type=click.Choice(["changes", "every-step"]),
    default="changes",
    show_default=True,
    help="Audit whenever the accounting could have changed, or after every decode step.",
)
@click.option(
    "--stop-on-engine-error", is_flag=True, help="Stop where the real engine would have died."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the recording to this directory.",
)
@click.option("--force", is_flag=True, help="Replace another run's recording at --out.")
@click.option(
    "--engine-log",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the log that the servers would have written, each line after the name of its server; "
    "with {server} in FILE, one file for each server, such as serve.decode0.log. `diagnose` reads "
    "both.",
)
@click.option("--expect", type=click.Choice(VERDICTS), help="Exit with 0 for this verdict only.")
@suppression_options
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of text.")
def run(
    trace: str,
    profile_name: str,
    assignments: tuple[str, ...],
    defects: tuple[str, ...],
    plan: str | None,
    drop: float | None,
    delay: tuple[float, float] | None,
    duplicate: float | None,
    swarm: bool,
    seed: int,
    repeat: int,
    heal_budget_s: float,
    device: str,
    audit: str,
    stop_on_engine_error: bool,
    out: Path | None,
    force: bool,
    engine_log: Path | None,
    expect: str | None,
    suppressions: Path | None,
    today: datetime | None,
    as_json: bool,
) -> int:
    """Replay TRACE against the allocator and scheduler pair of a profile and give a verdict.

    Exit codes: 0 as expected (without --expect: clean or transient), 1 another verdict, or with
    --suppressions a lasting finding that is not accepted or an expired entry, 2 bad input,
    3 inconclusive, 4 internal error.
    """
    from replay.run.options import RunOptions

    options = RunOptions(
        trace=trace,
        profile=profile_name,
        defects=defects,
        settings=tuple(parse_overrides(assignments).items()),
        plan=plan,
        drop=drop,
        delay=delay,
        duplicate=duplicate,
        swarm=swarm,
        seed=seed,
        repeat=repeat,
        heal_budget_s=heal_budget_s,
        every_step=audit == "every-step",
        stop_on_engine_error=stop_on_engine_error,
    )
    # The profile's errors come before those of files.
    options.make_profile()
    fault_plan = options.make_plan()
    accepted = read_accepted(suppressions, today)
    from replay.recording.file_kinds import ENGINE_LOG, RECORDING
    from replay.run.references import trace_file
    from traces.files.place import Place, check_apart, hold_all

    reads = inputs_of(trace, plan, suppressions)
    check_apart(out, engine_log)
    if out is not None:
        Place(out, RECORDING).check(reads)
    if engine_log is not None:
        Place(engine_log, ENGINE_LOG).check(reads, needs_folder=True)
    judged: list[Judged] = []
    look = None if accepted is None else judging(judged, str(out or trace), accepted)
    with trace_file(trace) as trace_path:
        request = options.to_request(device, trace_path=trace_path, plan=fault_plan)
        # Loads torch, which takes seconds: by now everything has been checked.
        from replay.run.replay_once import hold_recording, replay

        with ExitStack() as stack:
            place, write_logs = None, None
            if out is not None:
                held = hold_recording(out, request, reads=reads, force=force)
                place = stack.enter_context(held)
            if engine_log is not None:
                from replay.engine_log.writing import log_names, write_engine_logs

                names = log_names(engine_log, request.profile.to_dict())
                held_logs = hold_all(((each, ENGINE_LOG) for each in names.values()), reads=reads)
                logs = dict(zip(names, stack.enter_context(held_logs), strict=True))
                write_logs = partial(write_engine_logs, logs=logs)
            if swarm and not as_json:
                from replay.commands.printing.summary import print_swarm

                print_swarm(request)
            total = request.trace.request_count * (1 + repeat)
            progress = stack.enter_context(progress_bar("replaying", total))
            summary = replay(request, place, progress, write_beside=write_logs, look=look)
    _tell(summary, out, expect, as_json)
    if accepted is None:
        return exit_code(summary, expect)
    code = judge_accepted(judged, accepted)
    # What is expected and what is accepted are two things, and both must be so.
    return code if expect is None or code == 1 else exit_code(summary, expect)


def _tell(summary: dict[str, Any], out: Path | None, expect: str | None, as_json: bool) -> None:
    """Print the summary, and the command that reproduces a verdict that is not clean or not expected."""
    if as_json:
        say_json(summary)
    else:
        from replay.commands.printing.summary import print_summary

        print_summary(summary, out)
    if summary["verdict"] != "clean" or expect not in (None, "clean"):
        say(f"reproduce: {summary['reproduce']}", err=True)


def exit_code(summary: dict[str, Any], expect: str | None) -> int:
    """0 as expected, 1 another verdict, 3 inconclusive."""
    verdict = summary["verdict"]
    if verdict == expect or (expect is None and verdict in ("clean", "transient")):
        return 0
    return EXIT_INCONCLUSIVE if verdict == "inconclusive" else EXIT_OTHER_VERDICT
