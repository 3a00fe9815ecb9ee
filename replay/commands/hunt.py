"""`kvreplay hunt`: find a bug by swarm, and shrink what shows it."""

from __future__ import annotations

from pathlib import Path

import click

from replay.commands.options import (
    EXIT_INCONCLUSIVE,
    example,
    invocation,
    progress_bar,
    say,
    say_json,
    show_path,
)
from replay.commands.shrink import print_shrunk, shrink_options, shrink_with_progress


@click.command(epilog=example("kvreplay hunt --defect completion-never-times-out -o smallest-hang"))
@click.option(
    "--defect",
    "defects",
    multiple=True,
    metavar="NAME",
    help="Known bug to switch on and search for (see `profiles`); repeatable. Without it, any "
    "failure counts.",
)
@click.option(
    "--profile", default="hardened", show_default=True, help="Engine profile (see `profiles`)."
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 10**9),
    default=400,
    show_default=True,
    help="Number of seeds to try.",
)
@click.option(
    "--first",
    type=click.IntRange(0, 2**62),
    default=0,
    show_default=True,
    help="First seed.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="OUT",
    help="Directory: OUT/found is the case that was found, OUT/shrunk the smallest one.",
)
@shrink_options
def hunt(
    defects: tuple[str, ...],
    profile: str,
    seeds: int,
    first: int,
    out: Path,
    same_gap: bool,
    budget_s: float | None,
    max_replays: int | None,
    restart: bool,
    as_json: bool,
) -> int:
    """Try random replays, seed by seed, until one shows the bug; then shrink that one.

    Each seed draws a small trace, a deployment and faults. With --defect the outcome must differ
    without the bug, for the case that is found and for the smallest one.

    Exit codes: 0 a case was found, 2 bad input, 3 no seed shows one.
    """
    from replay.profiles.catalogue import find_profile
    from replay.profiles.defects import require_new

    require_new(find_profile(profile), defects)
    from replay.recording.file_kinds import hold_reproduction

    found = out / "found"
    search = ("out", "same_gap", "budget_s", "max_replays", "restart", "as_json")
    made_by = invocation(*search)
    with hold_reproduction(found, made_by, force=restart) as place:
        # From here on torch is loaded, which takes seconds: after what can be wrong.
        from replay.recording.reader import Recording
        from replay.reproduce.hunt import hunt as hunt_for
        from replay.shrink.asked import Budget, ShrinkOptions
        from replay.shrink.outputs import write_case

        with progress_bar("hunting", seeds) as progress:
            find = hunt_for(profile, defects, range(first, first + seeds), progress)
        if find is None:
            _print_nothing(profile, defects, range(first, first + seeds), as_json)
            return EXIT_INCONCLUSIVE
        if not as_json:
            say(f"seed {find.seed} shows it: {show_path(found)}")
        folder = place.folder()
        write_case(folder, found, find.case, f"kvreplay hunt, seed {find.seed}", made_by)
        place.put(folder)
    options = ShrinkOptions(
        same_gap=same_gap,
        because_of=defects,
        budget=Budget(replays=max_replays, seconds=budget_s),
        restart=restart,
    )
    recording = Recording.open(found / "recording")
    shrunk = shrink_with_progress(recording, out / "shrunk", options)
    print_shrunk({"seed": find.seed, **shrunk}, out / "shrunk", as_json)
    return 0


def _print_nothing(profile: str, defects: tuple[str, ...], seeds: range, as_json: bool) -> None:
    bugs = f" with {', '.join(defects)}" if defects else ""
    words = (
        f"{len(seeds)} seeds from {seeds[0]} on show nothing of {profile}{bugs}; try more --seeds"
    )
    if as_json:
        say_json({"found": False, "why": words}, indent=None)
    else:
        say(words)
