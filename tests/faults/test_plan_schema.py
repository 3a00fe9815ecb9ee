"""The JSON Schema says what `load_plan` does, as far as a schema can."""

import copy
import json
import tomllib

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from faults.catalogue import builtin_plans
from faults.events import DECODE_STATES, PREFILL_STATES
from faults.kinds.registry import KINDS
from faults.plan import PlanFile, RuleEntry, complaint_of
from faults.plan_schema import plan_schema
from faults.rule import CONDITION_MEANINGS

#: What only `load_plan` can see: numbers that must fit each other, and names given twice.
BEYOND_A_SCHEMA = (
    "is not later than after_us",
    "does not fit into every_us",
    "give one for each",
    "uniform goes from",
    "two rules are called",
)

SCHEMA = plan_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def complaint(document):
    """What `load_plan` has against a document, or None."""
    try:
        parsed = PlanFile.model_validate(document)
    except ValidationError as problem:
        return str(problem)
    wrong = complaint_of(parsed)
    return None if wrong is None else wrong[1]


def assert_agrees(document):
    told = complaint(document)
    is_valid = VALIDATOR.is_valid(document)
    if told is None:
        assert is_valid, next(VALIDATOR.iter_errors(document)).message
    elif is_valid:
        assert any(words in told for words in BEYOND_A_SCHEMA), (document, told)


def test_it_is_a_schema_that_stands_alone():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "$id" not in SCHEMA
    assert SCHEMA["title"]
    assert SCHEMA["description"]
    text = json.dumps(SCHEMA)
    assert '"null"' not in text, "TOML has no null"
    assert "Entry.model" not in text


def test_every_key_is_described():
    rule = SCHEMA["$defs"]["RuleEntry"]["properties"]
    assert set(rule) == set(RuleEntry.model_fields)
    for name, key in (SCHEMA["properties"] | rule).items():
        assert key.get("description"), name
    for kind in KINDS.values():
        assert f"{kind.name}: {kind.meaning}" in rule["fault"]["description"]


@pytest.mark.parametrize("text", [plan.text for plan in builtin_plans()])
def test_built_in_plans_are_valid(text):
    VALIDATOR.validate(tomllib.loads(text))


@pytest.mark.parametrize("kind", KINDS)
def test_examples_are_valid(kind):
    VALIDATOR.validate(tomllib.loads(KINDS[kind].example.text))


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"fault": "loose"},
        {"fault": "drop", "probabilty": 0.5},
        {"fault": "drop", "probability": 2},
        {"fault": "drop", "delay_us": 5},
        {"fault": "drop", "copies": 2},
        {"fault": "delay"},
        {"fault": "delay", "delay_us": 0},
        {"fault": "delay", "delay_us": {}},
        {"fault": "delay", "delay_us": {"uniform": [1, 2], "lognormal": {"median_us": 1, "sigma": 1}}},
        {"fault": "delay", "delay_us": {"uniform": [1]}},
        {"fault": "delay", "until": "tomorrow"},
        {"fault": "duplicate", "copy_delay_us": [1, 2]},
        {"fault": "reorder"},
        {"fault": "stale", "until": "heal"},
        {"fault": "abort"},
        {"fault": "abort", "when": "moving", "states": ["moving"]},
        {"fault": "abort", "when": "moving", "direction": "prefill"},
        {"fault": "timeout", "when": "running"},
        {"fault": "drop", "occurrences_per": "request"},
        {"fault": "drop", "states": ["in-flight"]},
        {"fault": "drop", "direction": "prefill", "states": ["moving"]},
        {"fault": "drop", "burst": {"length_us": 1}},
        {"fault": "drop", "name": ""},
    ],
)  # fmt: skip
def test_what_load_plan_refuses_an_editor_marks(rule):
    document = {"rule": [rule]}
    assert complaint(document) is not None
    assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize(
    "rule",
    [
        {"fault": "duplicate", "copy_delay_us": [5]},
        {"fault": "duplicate", "copies": 2, "copy_delay_us": [0, 5]},
        {"fault": "duplicate", "copies": 2, "copy_delay_us": {"uniform": [0, 0]}},
        {"fault": "drop", "occurrences_per": "rule"},
        {"fault": "drop", "states": ["finished"]},
        {"fault": "drop", "direction": "prefill", "states": ["in-flight"]},
        {"fault": "drop", "probability": 1},
        {"fault": "delay", "until": "heal"},
        {"fault": "delay", "delay_us": {"lognormal": {"median_us": 5, "sigma": 1}}},
        {"fault": "stale"},
        {"fault": "abort", "when": "moving", "direction": "decode"},
    ],
)
def test_what_load_plan_reads_an_editor_does_not_mark(rule):
    assert complaint({"rule": [rule]}) is None
    VALIDATOR.validate({"rule": [rule]})


def test_the_same_rule_twice_is_marked():
    rule = {"fault": "drop", "probability": 0.5}
    assert not VALIDATOR.is_valid({"rule": [rule, copy.deepcopy(rule)]})


times = st.one_of(st.integers(-1, 3), st.just(1_000_000), st.just(10**14))
durations = st.one_of(
    times,
    st.fixed_dictionaries(
        {},
        optional={
            "uniform": st.lists(times, min_size=1, max_size=3),
            "lognormal": st.fixed_dictionaries(
                {"median_us": times},
                optional={"sigma": st.sampled_from([0, 0.5, 1, 11]), "max_us": times},
            ),
            "normal": st.just([1, 2]),
        },
    ),
)
states = st.sampled_from([*DECODE_STATES, *PREFILL_STATES, "finished", "dropped", "asleep"])
ranks = st.lists(st.integers(-1, 3), max_size=2)
words = st.lists(st.sampled_from(["a", "b"]), max_size=2)

KEYS = {
    "name": st.sampled_from(["", "one", "two"]),
    "direction": st.sampled_from(["decode", "prefill", "up"]),
    "probability": st.sampled_from([0, 0.5, 1, 1.5, "half"]),
    "occurrences": st.lists(st.integers(0, 3), max_size=2),
    "occurrences_per": st.sampled_from(["rule", "request", "session", "rank", "day"]),
    "request_ids": words,
    "session_ids": words,
    "pools": words,
    "dp_ranks": ranks,
    "prefill_tp_ranks": ranks,
    "decode_tp_ranks": ranks,
    "states": st.lists(states, max_size=2),
    "after_us": times,
    "before_us": times,
    "burst": st.fixed_dictionaries(
        {"length_us": times, "every_us": times},
        optional={
            "probability": st.sampled_from([0, 0.5, 1]),
            "hits": st.sampled_from(["rank", "all", "one"]),
        },
    ),
    "delay_us": durations,
    "until": st.sampled_from([*CONDITION_MEANINGS, "tomorrow"]),
    "copies": st.integers(0, 3),
    "copy_delay_us": st.one_of(durations, st.lists(times, max_size=3)),
    "window_us": times,
    "to": st.sampled_from(["kind", "rank", "room", "nowhere"]),
    "early_us": times,
    "keep": st.integers(0, 2),
    "when": states,
}


@st.composite
def rules(draw):
    """A rule with a few keys, right or wrong; most have those that their fault needs."""
    fault = draw(st.sampled_from([*KINDS]))
    likely = {
        "delay": ["delay_us"], "reorder": ["window_us"], "abort": ["when"], "timeout": ["when"],
        "duplicate": ["copies", "copy_delay_us"], "stale": ["until"], "misroute": ["to"],
    }.get(fault, [])  # fmt: skip
    chosen = draw(st.lists(st.sampled_from([*KEYS]), max_size=2, unique=True))
    if draw(st.integers(0, 3)):
        chosen += likely
    return {"fault": fault} | {key: draw(KEYS[key]) for key in chosen}


def test_the_strategies_know_every_key():
    assert set(KEYS) | {"fault"} == set(RuleEntry.model_fields)


@given(st.lists(rules(), max_size=2))
def test_schema_and_loader_agree_on_any_rules(drawn):
    assert_agrees({"rule": drawn})


@given(rules(), st.sampled_from([*RuleEntry.model_fields]))
def test_schema_and_loader_agree_when_a_key_has_a_value_of_another_type(rule, key):
    for value in (True, 0.5, "x", [], {}, [{}], [True]):
        assert_agrees({"rule": [rule | {key: value}]})


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "comment": st.sampled_from(["", "x", 1]),
            "mode": st.sampled_from(["", "x", 1]),
            "reports": st.sampled_from([[], ["https://a"], ["http://a"], ["a"]]),
            "needs": st.sampled_from([[], ["a=1"], ["a"], [""]]),
            "shows": st.sampled_from(["hardened", 1]),
            "verdict": st.sampled_from(["clean", "persistent", "bad"]),
            "rules": st.just([]),
            "rule": st.sampled_from([[], {}]),
        },
    )
)
def test_schema_and_loader_agree_on_the_keys_beside_the_rules(document):
    assert_agrees(document)
