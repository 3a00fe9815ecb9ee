"""`kvreplay run`: replay a trace under faults and give a verdict."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replay.commands.options import (
    ProbabilityAndDelay,
    command_line,
    parse_overrides,
    profile_changes,
    progress_bar,
)

if TYPE_CHECKING:
    from faults.kinds import FaultPlan

VERDICTS = ("clean", "transient", "persistent", "inconclusive")


@click.command(
    epilog="Example: kvreplay run conv.parquet --profile sglang-0.4.6.post4 --drop 0.002 --seed 7"
)
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--profile", "profile_name", required=True, help="Engine profile, see `profiles`.")
@profile_changes
@click.option(
    "--plan", "plan_path", type=click.Path(path_type=Path), help="Fault plan, a TOML file."
)
@click.option("--drop", type=float, metavar="P", help="Lose completions with probability P.")
@click.option(
    "--delay", type=ProbabilityAndDelay(), help="Delay completions with probability P by MS ms."
)
@click.option("--duplicate", type=float, metavar="P", help="Deliver completions twice.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--repeat",
    type=click.IntRange(0, 1000),
    default=0,
    show_default=True,
    help="Clean cycles of the trace after healing, to see growth; it takes three to tell.",
)
@click.option(
    "--heal-budget",
    "heal_budget_s",
    type=click.FloatRange(min=0, max=1e9),
    default=600.0,
    show_default=True,
    help="Virtual seconds that late events and timeouts get after the faults end.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the pools live.",
)
@click.option(
    "--audit",
    type=click.Choice(["changes", "every-step"]),
    default="changes",
    show_default=True,
    help="Audit when accounting could have changed, or after every single decode step.",
)
@click.option(
    "--stop-on-engine-error", is_flag=True, help="Stop where the real engine would have died."
)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Keep the recording.")
@click.option("--expect", type=click.Choice(VERDICTS), help="Exit 0 on this verdict only.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of text.")
def run(
    trace: Path,
    profile_name: str,
    assignments: tuple[str, ...],
    defects: tuple[str, ...],
    plan_path: Path | None,
    drop: float | None,
    delay: tuple[float, float] | None,
    duplicate: float | None,
    seed: int,
    repeat: int,
    heal_budget_s: float,
    device: str,
    audit: str,
    stop_on_engine_error: bool,
    out: Path | None,
    expect: str | None,
    as_json: bool,
) -> int:
    """Replay TRACE against a profile's allocator and scheduler pair and give a verdict.

    Exit codes: 0 as expected (clean or transient when nothing was expected), 1 another verdict,
    2 bad input, 3 inconclusive, 4 internal error.
    """
    if math.isnan(heal_budget_s):
        raise click.BadParameter("not a number of seconds", param_hint="--heal-budget")
    from replay.campaign import ReplayRequest, replay
    from replay.defects import with_defects
    from replay.profile_catalogue import find_profile
    from replay.profile_overrides import override
    from replay.recording import check_replaceable
    from replay.session import SessionOptions
    from traces.dataset import open_trace

    profile = with_defects(find_profile(profile_name), defects)
    profile = override(profile, parse_overrides(assignments))
    plan = _plan(plan_path, drop, delay, duplicate)
    if out is not None:
        check_replaceable(out)
    words: list[object] = ["kvreplay", "run", trace, "--profile", profile_name]
    for defect in defects:
        words += ["--defect", defect]
    for assignment in assignments:
        words += ["--set", assignment]
    words += ["--plan", plan_path] if plan_path is not None else []
    words += ["--drop", f"{drop:g}"] if drop is not None else []
    words += ["--delay", f"{delay[0]:g}:{delay[1]:g}"] if delay is not None else []
    words += ["--duplicate", f"{duplicate:g}"] if duplicate is not None else []
    words += ["--seed", seed]
    words += ["--repeat", repeat] if repeat else []
    words += ["--heal-budget", f"{heal_budget_s:g}"] if heal_budget_s != 600.0 else []
    words += ["--audit", audit] if audit != "changes" else []
    words += ["--stop-on-engine-error"] if stop_on_engine_error else []
    request = ReplayRequest(
        trace=open_trace(trace),
        profile=profile,
        plan=plan,
        options=SessionOptions(
            seed=seed,
            repeats=repeat,
            heal_budget_us=round(heal_budget_s * 1e6),
            every_step=audit == "every-step",
            stop_on_engine_error=stop_on_engine_error,
        ),
        device=device,
        reproduce=command_line(*words),
    )
    with progress_bar("replaying", request.trace.request_count * (1 + repeat)) as progress:
        summary = replay(request, out, progress)
    if as_json:
        click.echo(json.dumps(summary, indent=2, ensure_ascii=False))
    else:
        from replay.commands.summary_text import print_summary

        print_summary(summary, out)
    if summary["verdict"] not in ("clean",) or expect not in (None, summary["verdict"]):
        click.echo(f"reproduce: {summary['reproduce']}", err=True)
    return exit_code(summary, expect)


def exit_code(summary: dict[str, Any], expect: str | None) -> int:
    """0 as expected, 1 another verdict, 3 inconclusive."""
    from replay.cli import EXIT_INCONCLUSIVE, EXIT_UNEXPECTED_VERDICT

    verdict = summary["verdict"]
    if verdict == expect or (expect is None and verdict in ("clean", "transient")):
        return 0
    return EXIT_INCONCLUSIVE if verdict == "inconclusive" else EXIT_UNEXPECTED_VERDICT


def _plan(
    plan_path: Path | None,
    drop: float | None,
    delay: tuple[float, float] | None,
    duplicate: float | None,
) -> FaultPlan:
    from faults.plan import combine, load_plan, shortcut_plan

    shortcuts = shortcut_plan(drop, delay, duplicate)
    return combine(load_plan(plan_path), shortcuts) if plan_path is not None else shortcuts
