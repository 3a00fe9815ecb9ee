"""What a matrix remembers of a recording: everything that results and expectations are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from replay.commands.printing.summary import equation
from replay.recording.reader import Recording


def facts_of(directory: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of one recording, as plain data that does not depend on the host."""
    recording = Recording.open(directory)
    episodes = recording.table("episodes").to_pylist()
    mismatch, faults, requests = summary["mismatch"], summary["faults"], summary["requests"]
    closed = [
        each["closed_us"] - each["opened_us"] for each in episodes if each["closed_us"] is not None
    ]
    return {
        "verdict": summary["verdict"],
        "why": summary["why"],
        "growth": summary["growth"],
        "kinds": dict(summary["kinds"]),
        "mismatch": mismatch,
        "equation": None if mismatch is None else equation(mismatch),
        "gap_tokens_max": max((abs(each["gap_tokens"]) for each in episodes), default=0),
        "heal_us_max": max(closed, default=None),
        "engine_message": summary["engine_message"],
        "engine_check_fired": summary["engine_check_fired"],
        "engine_died_message": summary["engine_died_message"],
        "episodes": summary["episodes"],
        "episodes_open": summary["episodes_open"],
        "faults_planned": faults["planned"],
        "faults_landed": faults["landed"],
        "faults_observed": faults["observed"],
        "rules_never_fired": faults["rules_never_fired"],
        "rules_without_effect": faults["rules_without_effect"],
        "requests": {key: requests[key] for key in _REQUESTS},
        "audits": summary["audits"],
        "virtual_us": summary["virtual_us"],
        "topology": topology_of(recording.run["profile"]),
        "recording_sha256": summary["recording_sha256"],
    }


_REQUESTS = ("total", "finished", "aborted", "failed", "stuck")


def topology_of(profile: Mapping[str, Any]) -> str:
    """A profile's topology in the words of the topology axis."""
    return ":".join(_side(profile, side) for side in ("prefill", "decode"))


def _side(profile: Mapping[str, Any], side: str) -> str:
    instances, tp, dp = (profile[f"{side}_{key}"] for key in ("instances", "tp", "dp"))
    many = f"{instances}x" if instances != 1 else ""
    return f"{many}tp{tp}" + (f"dp{dp}" if dp != 1 else "")


def plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The same as it is after a trip through JSON."""
    copied: dict[str, Any] = json.loads(json.dumps(facts))
    return copied
