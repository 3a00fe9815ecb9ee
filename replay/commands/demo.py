"""`kvreplay demo`: the whole story in one command."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replay.commands.options import DEVICE, example, progress_bar, say, show_path

if TYPE_CHECKING:
    from faults.rule import FaultPlan

#: The numbers that the engine printed in the story.
STORY_AVAILABLE, STORY_TOTAL, STORY_PAGE_SIZE = 13_824_256, 13_858_304, 64

_REQUESTS = 1500
_SEED = 7
_PROFILE = "sglang-0.4.6.post4"
_TRACE = "trace.parquet"


@click.command(epilog=example("kvreplay demo --out demo-out"))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("kvreplay-demo"),
    show_default=True,
    metavar="DIR",
    help="Directory of the trace, the recordings and the report; replaces an earlier demo there.",
)
@DEVICE
def demo(out: Path, device: str) -> int:
    """Run the whole story: record, replay, break, heal, reproduce, report. No input needed."""
    from replay.recording.file_kinds import DEMO
    from traces.files.place import hold

    with hold(out, DEMO, makes_folders=True) as place:
        folder = place.folder()
        _tell_the_story(folder, out, device)
        place.put(folder)
    say(f"\nOpen {show_path(out / 'report.html')}")
    say(f"Replay any of it, for example: {_run_words(out / _TRACE, 0.01, None)}")
    return 0


def _tell_the_story(folder: Path, named: Path, device: str) -> None:
    """Fill a working folder; all paths that are written name its final place, `named`."""
    from reports.evidence import load
    from reports.page import render_report
    from traces.files.writing import write
    from traces.synthesis import write_synthetic_trace
    from traces.synthesis_options import SynthesisOptions

    _say(1, f"synthesise a recorded trace of {_REQUESTS} requests")
    write_synthetic_trace(SynthesisOptions(requests=_REQUESTS, seed=_SEED), folder / _TRACE)

    recordings = []
    stories: list[tuple[str, str, float | None, tuple[float, float] | None]] = [
        ("clean", "replay it with every completion on time", None, None),
        ("delayed", "replay it with 1 % of the completions 2 s late", None, (0.01, 2000.0)),
        ("dropped", "replay it with 1 % of the completions lost", 0.01, None),
    ]
    for step, (name, text, drop, delay) in enumerate(stories, start=2):
        _say(step, text)
        _tell(_run(folder, named, name, drop, delay, device))
        recordings.append(name)
    for step, persistence in ((5, "persistent"), (6, "transient")):
        _say(step, f"reproduce {STORY_AVAILABLE} of {STORY_TOTAL}, {persistence}")
        directory = f"story-{persistence}"
        _tell(_reproduce(folder / directory, named / directory, persistence, device))
        recordings.append(f"{directory}/recording")
    _say(7, "draw one report of all five")
    found = [replace(load(folder / each), name=str(named / each)) for each in recordings]
    write(folder / "report.html", render_report(found, title="kvreplay demo"))


def _run_words(trace: Path, drop: float | None, delay: tuple[float, float] | None) -> str:
    words: list[object] = ["kvreplay", "run", trace, "--profile", _PROFILE]
    words += ["--drop", f"{drop:g}"] if drop is not None else []
    words += ["--delay", f"{delay[0]:g}:{delay[1]:g}"] if delay is not None else []
    return shlex.join(map(str, [*words, "--seed", _SEED]))


def _run(
    folder: Path,
    named: Path,
    name: str,
    drop: float | None,
    delay: tuple[float, float] | None,
    device: str,
) -> dict[str, Any]:
    from faults.plan import shortcut_plan
    from replay.profiles.catalogue import find_profile
    from replay.run.replay_once import ReplayRequest, replay
    from replay.run.session import SessionOptions
    from traces.dataset import open_trace

    plan: FaultPlan = shortcut_plan(drop, delay, None)
    request = ReplayRequest(
        trace=open_trace(folder / _TRACE),
        trace_name=str(named / _TRACE),
        profile=find_profile(_PROFILE),
        plan=plan,
        options=SessionOptions(seed=_SEED),
        device=device,
        reproduce=_run_words(named / _TRACE, drop, delay),
    )
    with progress_bar("replaying", request.trace.request_count) as progress:
        return replay(request, folder / name, progress)


def _reproduce(folder: Path, named: Path, persistence: str, device: str) -> dict[str, Any]:
    from replay.commands.reproduce import reproduce_gap
    from replay.profiles.catalogue import find_profile
    from replay.reproduce.wanted_gap import WantedGap
    from traces.files.writing import make_folder

    wanted = WantedGap(
        STORY_AVAILABLE,
        STORY_TOTAL,
        STORY_PAGE_SIZE,
        "transient" if persistence == "transient" else "persistent",
    )
    profile = find_profile(_PROFILE)
    make_folder(folder)
    return reproduce_gap(wanted, profile, (), (), None, 0, device, folder, named)


def _say(step: int, text: str) -> None:
    say(f"{step}/7 ", fg="cyan", nl=False)
    say(text)


def _tell(summary: dict[str, Any]) -> None:
    from replay.recording.words import equation

    say(f"    {summary['verdict']}: {summary['why']}")
    if summary["mismatch"] is not None:
        say(f"    {equation(summary['mismatch'])}")
