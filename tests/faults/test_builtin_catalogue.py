"""The built-in plans as files: all load, all say what they are about, and a name finds its plan."""

import re
import tomllib

import pytest

from faults.catalogue import builtin_names, builtin_plan, builtin_plans, open_plan
from faults.kinds.registry import KINDS
from faults.plan import load_plan, parse_plan
from faults.rule import PlanError
from replay.profiles.catalogue import builtin_profiles
from replay.profiles.defects import all_defects

#: Modes that need no fault: a wrong count, gate, counter or release in every healthy transfer.
NEED_NO_FAULT = {
    "expected count too high",
    "free before an asynchronous read is done",
    "result dropped in the event loop",
    "false idle or checker false alarm",
    "counter drift",
}

EXPECTED = [
    "late-completion-after-timeout", "lost-completion", "lost-acknowledgement",
    "abort-after-landing", "abort-while-waiting", "abort-while-moving", "duplicate-completion",
    "duplicate-acknowledgement", "late-completion-for-reused-pages", "room-reuse",
    "partial-ranks", "early-completion", "misrouted-acknowledgement", "wrong-room",
    "failed-transfer", "failure-beside-success", "reordered-completions", "rank-outage",
    "lost-then-abort",
]  # fmt: skip


def test_every_field_failure_mode_that_a_fault_brings_about_has_a_plan():
    modes = {defect.mode for defect in all_defects().values()}
    assert len(modes) == 21
    with_plan = {plan.facts.mode for plan in builtin_plans()} - {""}
    assert with_plan <= modes, "a mode is called as the defects call it"
    assert modes - with_plan == NEED_NO_FAULT


def test_every_fault_kind_is_in_some_plan_and_has_an_example():
    used = {rule.fault for plan in builtin_plans() for rule in plan.plan.rules}
    assert used == set(KINDS)


def test_the_plans_that_people_will_look_for_are_there():
    assert set(EXPECTED) <= set(builtin_names())


@pytest.mark.parametrize("name", builtin_names())
def test_a_plan_says_what_it_is_about(name):
    facts = builtin_plan(name).facts
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
    assert name not in KINDS, "`kvreplay faults NAME` shows either"
    assert facts.comment.endswith(".")
    assert facts.reports
    assert facts.shows in builtin_profiles() or facts.shows in all_defects()
    assert facts.verdict in ("transient", "persistent", "inconclusive")
    assert all(rule.name for rule in facts.rule), "a built-in rule has a name of its own"


@pytest.mark.parametrize("name", builtin_names())
def test_a_copy_of_a_plan_is_a_plan(name, tmp_path):
    plan, copy = builtin_plan(name), tmp_path / "copy.toml"
    copy.write_text(plan.text)
    assert load_plan(copy).rules == plan.plan.rules == open_plan(f"builtin:{name}").rules
    assert open_plan(f"builtin:{name}").source == f"builtin:{name}"
    assert open_plan(str(copy)).source == str(copy)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lost-completions", ["builtin:lost-completions", "did you mean lost-completion?"]),
        ("Rank-Outage", ["did you mean rank-outage?"]),
        ("zzz", ["there are abort-after-landing", "..."]),
        ("", ["no built-in plan of that name"]),
        ("../plan", ["no built-in plan of that name"]),
    ],
)
def test_an_unknown_plan_is_answered_with_the_nearest(name, words):
    with pytest.raises(PlanError) as raised:
        open_plan(f"builtin:{name}")
    assert "\n" not in str(raised.value)
    for word in words:
        assert word in str(raised.value)


def test_a_file_may_be_called_like_a_built_in_plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "builtin:lost-completion").write_text('comment = "mine"\n')
    assert open_plan("./builtin:lost-completion").comment == "mine"


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_is_short_and_is_of_its_kind(kind):
    example = KINDS[kind].example
    rules = parse_plan(example.text, "example").rules
    assert rules[-1].fault == kind
    assert len(example.text.splitlines()) <= 8
    assert set(tomllib.loads(example.text)) == {"rule"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('reports = ["see the wiki"]', ["reports[1]", "see the wiki"]),
        ('needs = ["page_size 16"]', ["needs[1]", "page_size 16"]),
        ('verdict = "bad"', ["verdict", "'bad'", "persistent"]),
        ('modes = "x"', ["modes", "did you mean mode?"]),
    ],
)
def test_wrong_facts_are_refused_with_line_and_key(line, words):
    with pytest.raises(PlanError) as raised:
        parse_plan(f'comment = "x"\n{line}\n', "my.toml")
    assert str(raised.value).startswith("my.toml:2: ")
    for word in words:
        assert word in str(raised.value)
