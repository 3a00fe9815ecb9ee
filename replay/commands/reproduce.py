"""`kvreplay reproduce`: make the two numbers an engine printed happen again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replay.commands.options import (
    DEVICE,
    example,
    invocation,
    parse_overrides,
    profile_changes,
    progress_bar,
    say,
    say_json,
    show_path,
)

if TYPE_CHECKING:
    from replay.profiles.profile import EngineProfile
    from replay.reproduce.wanted_gap import Reproduction, WantedGap
    from traces.schema import TraceRequest

#: Synthesised traces tried before giving up; each is larger than the last.
_ATTEMPTS = 6
_REQUESTS_PER_RANK = 24
#: Profile fields that the wanted gap sets.
_GIVEN = ("page_size", "total_tokens", "prefill_total_tokens")


@click.command(
    epilog=example("kvreplay reproduce --available 13824256 --total 13858304 --page-size 64")
)
@click.option(
    "--available", type=int, required=True, help="Available tokens that the engine printed."
)
@click.option("--total", type=int, required=True, help="Total tokens that the engine printed.")
@click.option(
    "--page-size",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Tokens of a page.",
)
@click.option(
    "--as",
    "persistence",
    type=click.Choice(["persistent", "transient"]),
    default="persistent",
    show_default=True,
    help="persistent loses the completions, transient delays them.",
)
@click.option(
    "--engine-check",
    is_flag=True,
    help="Make the engine's own idle check fire with these numbers.",
)
@click.option(
    "--profile",
    "profile_name",
    default="sglang-0.4.6.post4",
    show_default=True,
    help="Engine profile (see `profiles`).",
)
@profile_changes
@click.option(
    "--trace",
    "trace_path",
    type=click.Path(path_type=Path),
    help="Choose requests of this trace instead of synthesised ones.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the synthesised requests.",
)
@DEVICE
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Directory of trace.parquet, plan.toml and the recording. [default: "
    "reproduce-AVAILABLE-of-TOTAL-persistent or -transient]",
)
@click.option("--force", is_flag=True, help="Replace what another `reproduce` command wrote there.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def reproduce(
    available: int,
    total: int,
    page_size: int,
    persistence: str,
    engine_check: bool,
    defects: tuple[str, ...],
    profile_name: str,
    assignments: tuple[str, ...],
    trace_path: Path | None,
    seed: int,
    device: str,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    """Find requests and faults that leave exactly AVAILABLE of TOTAL tokens, and replay them.

    A leak (available below total) comes from lost or late completions on one decode DP rank, an
    over-free (available above total) from prefill acknowledgements that arrive twice. With
    --engine-check a leak comes from clients that abort while their requests wait to be batched; the
    engine's own check finds it as soon as the engine is idle.

    Exit codes: 0 the numbers came out, 1 the engine profile does not allow them, 2 bad input.
    """
    from replay.profiles.catalogue import find_profile
    from replay.profiles.defects import with_defects
    from replay.recording.file_kinds import hold_reproduction
    from replay.reproduce.wanted_gap import WantedGap

    wanted = WantedGap(
        available,
        total,
        page_size,
        "transient" if persistence == "transient" else "persistent",
        engine_check,
    )
    directory = out or Path(f"reproduce-{available}-of-{total}-{persistence}")
    base = with_defects(find_profile(profile_name), defects)
    made_by, reads = invocation("out", "device", "force", "as_json"), []
    if trace_path is not None:
        from traces.dataset import open_trace

        made_by += f" sha256 {open_trace(trace_path).sha256()}"
        reads.append(trace_path)
    with hold_reproduction(directory, made_by, reads=reads, force=force) as place:
        folder = place.folder()
        summary = reproduce_gap(
            wanted, base, defects, assignments, trace_path, seed, device, folder, directory, made_by
        )
        place.put(folder)
    _print(summary, wanted, directory, as_json)
    return 0 if summary["reproduction"]["came_out"] else 1


def reproduce_gap(
    wanted: WantedGap,
    base: EngineProfile,
    defects: tuple[str, ...],
    assignments: tuple[str, ...],
    trace_path: Path | None,
    seed: int,
    device: str,
    folder: Path,
    directory: Path,
    made_by: str = "kvreplay demo",
) -> dict[str, Any]:
    """Find, write and replay a reproduction; the run's summary with a key `reproduction`.

    `base` is the profile with `defects`, before `assignments`; `folder` is a working folder, and
    `directory` where that will be.

    Raises:
        NoSuchGapError: no set of requests makes the gap.
        ProfileError: the profile cannot have that pool.
    """
    from replay.profiles.overrides import override
    from replay.reproduce.engine_check import require_a_check
    from replay.reproduce.from_numbers import fit_profile

    wanted.check()
    for assignment in assignments:
        if assignment.partition("=")[0].strip() in _GIVEN:
            raise click.BadParameter(
                f"{assignment!r}: the pool follows from --total and --page-size", param_hint="--set"
            )
    profile = fit_profile(override(base, parse_overrides(assignments)), wanted)
    if wanted.by_engine_check:
        require_a_check(profile)
    found, block_size, source = _find(wanted, profile, trace_path, seed)
    _write_inputs(folder, found, block_size, source, made_by)
    summary = _replay(folder, directory, found, base, defects, seed, device)
    mismatch = summary["mismatch"] or {}
    came_out = (
        summary["verdict"] == wanted.persistence
        and (mismatch.get("available"), mismatch.get("total")) == (wanted.available, wanted.total)
        and mismatch.get("evictable") == 0
        and summary["faults"]["never_fired"] == 0
        and _owners(folder / "recording", mismatch["pool"]) == set(found.chosen)
        and (not wanted.by_engine_check or _engine_said_it(summary, base))
    )
    summary["reproduction"] = {
        "came_out": came_out,
        "requests_chosen": len(found.chosen),
        "trace": str(directory / "trace.parquet"),
        "plan": str(directory / "plan.toml"),
        "recording": str(directory / "recording"),
    }
    return summary


def _owners(recording: Path, pool: str) -> set[str]:
    """Whose pages were in the gap of a pool."""
    from replay.recording.reader import Recording

    owners = Recording.open(recording).table("owners").to_pylist()
    return {row["request_id"] for row in owners if row["pool"] == pool}


def _engine_said_it(summary: dict[str, Any], profile: EngineProfile) -> bool:
    """Whether the engine's own check fired with these numbers, and with no others before."""
    if profile.check_strictness == "error":
        return bool(summary["engine_died_message"] == summary["engine_message"])
    return bool(summary["engine_check_fired"])


def _find(
    wanted: WantedGap, profile: EngineProfile, trace_path: Path | None, seed: int
) -> tuple[Reproduction, int | None, str]:
    """A reproduction from a given trace or a synthesised one, with its block size and source."""
    from replay.errors import NoSuchGapError
    from replay.reproduce.from_numbers import choose

    if trace_path is not None:
        from traces.dataset import open_trace

        trace = open_trace(trace_path)
        found = choose(list(trace.iter_requests()), profile, wanted, reorder=False)
        if found is None:
            raise NoSuchGapError(
                f"{trace_path}: no requests of one decode rank have prompts that add up to "
                f"{wanted.pages} pages of {wanted.page_size} tokens; leave --trace out to use a "
                "synthesised trace"
            )
        return found, trace.block_size, trace.source
    for attempt in range(_ATTEMPTS):
        requests, block_size = _synthesise(wanted, profile, seed, attempt)
        found = choose(requests, profile, wanted, reorder=True)
        if found is not None:
            return found, block_size, f"synthesised for {wanted.available} of {wanted.total}"
    raise NoSuchGapError(
        f"no requests in {_ATTEMPTS} synthesised traces have prompts that add up to {wanted.pages} "
        f"pages of {wanted.page_size} tokens; another --seed may do"
    )


def _synthesise(
    wanted: WantedGap, profile: EngineProfile, seed: int, attempt: int
) -> tuple[list[TraceRequest], int]:
    """Single-turn requests whose prompts are a fraction of the gap, enough of them on each rank."""
    from replay.profiles.routing import decode_places
    from traces.synthesis import synthesize
    from traces.synthesis_options import SynthesisOptions

    gap_tokens = abs(wanted.gap_tokens)
    # A third of the gap at most: one request alone would be an answer, but hardly a likeness.
    longest = max(1, min(131_072, gap_tokens // 3))
    options = SynthesisOptions(
        requests=decode_places(profile) * _REQUESTS_PER_RANK * (attempt + 1),
        seed=seed + attempt,
        rate_per_s=8.0,
        prompt_tokens_median=max(1, longest // 3),
        output_tokens_median=32,
        output_tokens_max=64,
        tokens_sigma=0.9,
        system_tokens_median=0,
        input_tokens_max=longest,
        turns_mean=1.0,
    )
    return list(synthesize(options)), options.block_size


def _write_inputs(
    folder: Path, found: Reproduction, block_size: int | None, source: str, made_by: str
) -> None:
    from faults.plan_text import plan_text
    from replay.recording.file_kinds import PLAN_NAME, sealed
    from traces.files.writing import write
    from traces.writer import TraceWriter

    with TraceWriter(folder / "trace.parquet", source=source, block_size=block_size) as writer:
        for request in found.requests:
            writer.write(request)
    write(folder / PLAN_NAME, sealed(plan_text(found.plan), made_by))


def _replay(
    folder: Path,
    directory: Path,
    found: Reproduction,
    base: EngineProfile,
    defects: tuple[str, ...],
    seed: int,
    device: str,
) -> dict[str, Any]:
    """Replay what was written, through the same path as `kvreplay run`."""
    from replay.profiles.overrides import as_text
    from replay.run.options import RunOptions

    before, after = base.to_dict(), found.profile.to_dict()
    options = RunOptions(
        trace=str(directory / "trace.parquet"),
        profile=base.name,
        defects=defects,
        settings=tuple(
            (field, as_text(after[field])) for field in after if after[field] != before[field]
        ),
        plan=str(directory / "plan.toml"),
        seed=seed,
        heal_budget_s=found.heal_budget_us / 1e6,
    )
    with progress_bar("replaying", len(found.requests)) as progress:
        return options.replay_in(folder, device, progress)


def _print(summary: dict[str, Any], wanted: WantedGap, directory: Path, as_json: bool) -> None:
    if as_json:
        say_json(summary)
    else:
        from replay.commands.printing.summary import print_summary

        print_summary(summary, directory / "recording")
        chosen = summary["reproduction"]["requests_chosen"]
        say(f"  {chosen} requests chosen; trace and plan: {show_path(directory)}")
    if not summary["reproduction"]["came_out"]:
        say(
            f"wanted {wanted.persistence} available {wanted.available} of {wanted.total}, which "
            "this profile did not give",
            err=True,
        )
    say(f"reproduce: {summary['reproduce']}", err=True)
