"""A shrunk case as a pytest file that runs as it is."""

from __future__ import annotations

import json
from typing import Any

from replay.recording.file_kinds import PLAN_NAME
from replay.run.session import SessionOptions
from replay.shrink.case import Case
from replay.shrink.outcome import Outcome
from replay.shrink.place import TRACE
from traces.text import printable


def pytest_text(case: Case, wanted: Outcome, summary: dict[str, Any]) -> str:
    """The text of the file; it stands beside the trace and the plan."""
    lines = [
        f'"""{_what(case, wanted)}',
        "",
        "Made by `kvreplay shrink`; runs with pytest where kvreplay is installed.",
        '"""',
        "",
        "from pathlib import Path",
        "",
        "HERE = Path(__file__).parent",
        "",
        "",
        "def test_shrunk(kvreplay):",
        "    replayed = kvreplay.run(",
        *(f"        {name}={value}," for name, value in _arguments(case)),
        "    )",
        *(f"    assert {each}" for each in _assertions(wanted, summary)),
    ]
    return "\n".join(lines) + "\n"


def _what(case: Case, wanted: Outcome) -> str:
    requests = "1 request" if len(case.requests) == 1 else f"{len(case.requests)} requests"
    rules = "1 fault rule" if len(case.rules) == 1 else f"{len(case.rules)} fault rules"
    kind = "" if wanted.kind is None else f" ({wanted.kind})"
    return f"{wanted.verdict.capitalize()}{kind} with {requests} and {rules}."


def _arguments(case: Case) -> list[tuple[str, str]]:
    options, defaults = case.options, SessionOptions()
    arguments = [("trace", f'HERE / "{TRACE}"'), ("profile", _literal(case.profile))]
    if case.defects:
        arguments.append(("defects", _literal(list(case.defects))))
    if case.settings:
        arguments.append(
            ("settings", _literal({name: _setting(value) for name, value in case.settings}))
        )
    if case.rules:
        arguments.append(("plan", f'HERE / "{PLAN_NAME}"'))
    given = (
        ("seed", options.seed, defaults.seed),
        ("repeat", options.repeats, defaults.repeats),
        ("heal_budget_s", options.heal_budget_us / 1e6, defaults.heal_budget_us / 1e6),
        ("every_step", options.every_step, defaults.every_step),
        ("stop_on_engine_error", options.stop_on_engine_error, defaults.stop_on_engine_error),
    )
    return arguments + [(name, repr(value)) for name, value, usual in given if value != usual]


def _setting(value: object) -> object:
    """A setting as the fixture takes it."""
    if value is None:
        return "none"
    return list(value) if isinstance(value, tuple) else value


def _literal(value: object) -> str:
    """A value as Python source, with the quotes that formatters use."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(k)}: {_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_literal(each) for each in value) + "]"
    # What printable makes of a character, Python reads as that character.
    return (
        printable(json.dumps(value, ensure_ascii=False)) if isinstance(value, str) else repr(value)
    )


def _assertions(wanted: Outcome, summary: dict[str, Any]) -> list[str]:
    found = [f'replayed.verdict == "{wanted.verdict}"']
    if wanted.kind is not None:
        found.append(f'"{wanted.kind}" in replayed.kinds')
    if wanted.oracle.endswith("liveness"):
        found.append('replayed.summary["oracles"]["liveness"]')
    if wanted.oracle == "engine":
        found.append('replayed.summary["engine_died_us"] is not None')
    if wanted.numbers is not None:
        mismatch = summary["mismatch"]
        for name in ("available", "evictable", "protected", "total", "gap"):
            found.append(f'replayed.summary["mismatch"]["{name}"] == {mismatch[name]}')
    return found
