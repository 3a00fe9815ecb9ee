"""The JSON Schema of a plan file, for editors: what pydantic derives, and what goes with what.

It refuses nothing that `faults.plan.load_plan` reads. It lets pass what a schema cannot say: numbers
that must not be larger than another, as many delays as copies, and names that are given twice.
"""

from __future__ import annotations

from typing import Any

from faults.events import STATE_MEANINGS, STATES_OF_RECEIVERS
from faults.kinds.base import KEYS_ABOUT_EVENTS, FaultKind
from faults.kinds.registry import KIND_KEYS, KINDS
from faults.plan import PlanFile
from faults.rule import CONDITION_MEANINGS

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DESCRIPTION = (
    "What goes wrong in a replay: each rule says which completion events, or requests in which "
    "state, it hits, and what becomes of them. `kvreplay faults` explains the words."
)


def plan_schema() -> Schema:
    """The schema, which stands on its own."""
    derived = _as_toml(PlanFile.model_json_schema())
    definitions = derived["$defs"]
    _describe_rule(definitions["RuleEntry"])
    definitions["DurationEntry"]["oneOf"] = [_requires("uniform"), _requires("lognormal")]
    # Rules without a name are named after what they say, and two of one name are an error.
    derived["properties"]["rule"]["uniqueItems"] = True
    return {
        "$schema": _DIALECT,
        "title": "kvreplay fault plan",
        **derived,
        "description": _DESCRIPTION,
    }


def _as_toml(schema: Any) -> Any:
    """Without the titles that pydantic makes of names, and without null, which TOML has not."""
    if isinstance(schema, list):
        return [_as_toml(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {
        key: {name: _as_toml(each) for name, each in value.items()}
        if key in ("properties", "$defs")
        else _as_toml(value)
        for key, value in schema.items()
        if key != "title" and not (key == "default" and value is None)
    }
    if "anyOf" in plain:
        options = [each for each in plain["anyOf"] if each != {"type": "null"}]
        if len(options) == 1:
            del plain["anyOf"]
            return options[0] | plain
        plain["anyOf"] = options
    return plain


def _describe_rule(rule: Schema) -> None:
    """Say what the words mean, and which key goes with which fault and which other key."""
    for key, meanings in (
        ("fault", {name: kind.meaning for name, kind in KINDS.items()}),
        ("until", CONDITION_MEANINGS),
        ("when", STATE_MEANINGS),
    ):
        lines = [f"{word}: {meaning}" for word, meaning in meanings.items()]
        rule["properties"][key]["description"] += "\n" + "\n".join(lines)
    conditions = [_when("fault", name, _of_kind(kind)) for name, kind in KINDS.items()]
    for direction, states in STATES_OF_RECEIVERS.items():
        known = {"properties": {"states": {"items": {"enum": list(states)}}}}
        conditions.append(_when("direction", direction, known, or_absent=direction == "decode"))
    conditions += [
        {
            "if": {
                "properties": {"occurrences_per": {"not": {"const": "rule"}}},
                "required": ["occurrences_per"],
            },
            "then": _requires("occurrences"),
        },
    ]
    rule["allOf"] = conditions


def _of_kind(kind: FaultKind) -> Schema:
    """What holds for the rules of one kind."""
    properties: Schema = dict.fromkeys(sorted(KIND_KEYS - kind.keys), False)
    properties |= {only.key: {"enum": list(only.words)} for only in kind.only}
    if kind.is_aimed:
        # It acts on a request in a state, not on events.
        properties |= dict.fromkeys(KEYS_ABOUT_EVENTS, False)
        properties["direction"] = {"const": "decode"}
    then: Schema = {"properties": properties, **kind.schema()}
    if kind.must:
        then["required"] = sorted(kind.must)
    if kind.one_of:
        then["anyOf"] = [_requires(key) for key in kind.one_of]
    return then


def _when(key: str, value: str, then: Schema, or_absent: bool = False) -> Schema:
    """A condition on one key; one that may be absent has that value by default."""
    condition: Schema = {"properties": {key: {"const": value}}}
    return {"if": condition if or_absent else condition | _requires(key), "then": then}


def _requires(key: str) -> Schema:
    return {"required": [key]}
