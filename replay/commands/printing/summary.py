"""A summary as a person reads it in a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from replay.commands.options import say, show_path
from replay.recording.kinds import VERDICT_SIGNS
from replay.recording.words import equation

if TYPE_CHECKING:
    from replay.run.replay_once import ReplayRequest

#: Verdicts are told apart by their sign as well as by their colour.
_COLOURS = {"clean": "green", "transient": "yellow", "persistent": "red", "inconclusive": "magenta"}


def print_summary(summary: dict[str, Any], out: Path | None) -> None:
    """Print the verdict, the equation, who owns the gap and how the requests fared."""
    verdict_sign(summary["verdict"])
    say(f"  {summary['why']}")
    if summary["blame"]:
        say(f"  {summary['blame']}")
    kinds = ", ".join(f"{pages} {kind}" for kind, pages in summary["kinds"].items())
    if kinds and summary["mismatch"] is None:
        say(f"  pages by kind, though every count balances: {kinds}")
    if (mismatch := summary["mismatch"]) is not None:
        say(f"  {equation(mismatch)}")
        say(f"  pages by kind: {kinds}; growth: {summary['growth'] or 'none'}")
        fired = "fired" if summary["engine_check_fired"] else "did not fire"
        say(f"  the engine's own check {fired}; in its words the gap is:")
        for line in summary["engine_message"].rstrip("\n").split("\n"):
            say(f"    {line}")
    if summary["engine_died_us"] is not None:
        when = summary["engine_died_us"] / 1e6
        first_line = summary["engine_died_message"].split("\n")[0]
        say(f"  the real engine would have died at {when:.3f} s: {first_line}")
    requests, faults = summary["requests"], summary["faults"]
    say(
        f"  requests: {requests['finished']} finished, {requests['aborted']} aborted, "
        f"{requests['failed']} failed, {requests['stuck']} stuck, of {requests['total']}"
    )
    say(
        f"  faults: {faults['landed']} landed of {faults['planned']} planned, "
        f"{faults['observed']} with an effect; {faults['never_fired']} rules never fired, "
        f"{faults['without_effect']} without effect"
    )
    say(
        f"  {summary['audits']} audits over {summary['virtual_us'] / 1e6:.1f} virtual seconds; "
        f"{summary['timing']['requests_per_s']:.0f} requests/s"
    )
    say(f"  recording: sha256 {summary['recording_sha256']}", nl=False)
    say(f", {show_path(out)}" if out is not None else "")


def verdict_sign(verdict: str) -> None:
    """Print a verdict by its sign and in its colour, without ending the line."""
    sign = f"[{VERDICT_SIGNS[verdict]}] {verdict.upper()}"
    say(sign, fg=_COLOURS[verdict], bold=True, nl=False)


def print_swarm(request: ReplayRequest) -> None:
    """Print the topology and the rules that the seed has drawn."""
    from faults.plan_text import rule_lines
    from replay.profiles.overrides import as_text

    swarm = request.swarm
    if swarm is None:
        return
    settings = " ".join(f"{name}={as_text(value)}" for name, value in swarm.settings.items())
    say(f"swarm of seed {request.options.seed}: {settings}")
    for rule in swarm.plan.rules:
        say(f"  {'; '.join(rule_lines(rule)[1:])}")
