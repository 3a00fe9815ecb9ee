"""What a swarm run has drawn, as a person reads it: settings and rules as they could be written."""

from __future__ import annotations

from faults.plan_text import rule_lines
from replay.campaign import ReplayRequest
from replay.commands.options import say
from replay.profile_overrides import as_text


def print_swarm(request: ReplayRequest) -> None:
    """Print the topology and the rules that the seed has drawn."""
    swarm = request.swarm
    if swarm is None:
        return
    settings = " ".join(f"{name}={as_text(value)}" for name, value in swarm.settings.items())
    say(f"swarm of seed {request.options.seed}: {settings}")
    for rule in swarm.plan.rules:
        say(f"  {'; '.join(rule_lines(rule)[1:])}")
