"""Plan files and shortcuts: what is read, and what a mistake is answered with."""

import re

import pytest

from faults.plan import combine, load_plan, shortcut_plan
from faults.rule import FaultPlan, FaultRule, PlanError


@pytest.fixture
def load(tmp_path):
    def write_and_load(text):
        path = tmp_path / "plan.toml"
        path.write_text(text, encoding="utf-8")
        return load_plan(path)

    return write_and_load


@pytest.fixture
def complaint(load):
    """The one sentence that a bad plan is answered with."""

    def of(text):
        with pytest.raises(PlanError) as raised:
            load(text)
        message = str(raised.value)
        assert "plan.toml" in message, "the file is named"
        assert "\n" not in message
        assert "pydantic" not in message
        return message.split("plan.toml", 1)[1]

    return of


def test_every_key_of_a_rule_is_read(load):
    plan = load(
        """
        comment = "two rules"

        [[rule]]
        name = "late"
        fault = "delay"
        direction = "prefill"
        probability = 0.25
        occurrences = [1, 3]
        request_ids = ["r-1", "r-2"]
        dp_ranks = [0]
        prefill_tp_ranks = [1]
        decode_tp_ranks = [2, 3]
        after_us = 10
        before_us = 20
        delay_us = 500_000

        [[rule]]
        name = "twice"
        fault = "duplicate"
        copies = 3
        copy_delay_us = 0
        """
    )
    assert plan.comment == "two rules"
    assert plan.source.endswith("plan.toml")
    assert plan.rules == (
        FaultRule(
            name="late",
            fault="delay",
            direction="prefill",
            probability=0.25,
            occurrences=frozenset({1, 3}),
            request_ids=frozenset({"r-1", "r-2"}),
            dp_ranks=frozenset({0}),
            prefill_tp_ranks=frozenset({1}),
            decode_tp_ranks=frozenset({2, 3}),
            after_us=10,
            before_us=20,
            delay_us=500_000,
        ),
        FaultRule(name="twice", fault="duplicate", copies=3, copy_delay_us=0),
    )


def test_a_plan_may_have_no_rules(load):
    assert load('comment = "nothing"').rules == ()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('fault = "drop"\nprobabilty = 0.5', ["probabilty", "did you mean probability?"]),
        ('fault = "drop"\nrequest_id = ["a"]', ["request_id", "did you mean request_ids?"]),
        ('fault = "drop"\nzzz = 1', ["zzz", "there are", "probability"]),
        ('fault = "loose"', ["fault", "'loose'", "drop, delay"]),
        ('name = "x"', ["fault", "missing"]),
        ('fault = "drop"\nprobability = 1.5', ["probability", "1.5"]),
        ('fault = "drop"\nprobability = -0.1', ["probability", "-0.1"]),
        ('fault = "drop"\nprobability = "half"', ["probability", "'half'"]),
        ('fault = "drop"\nprobability = true', ["probability", "True"]),
        ('fault = "drop"\ndirection = "sideways"', ["direction", "'sideways'", "prefill"]),
        ('fault = "drop"\noccurrences = [0]', ["occurrences", "0"]),
        ('fault = "drop"\noccurrences = []', ["occurrences"]),
        ('fault = "drop"\nrequest_ids = []', ["request_ids"]),
        ('fault = "drop"\nrequest_ids = "a"', ["request_ids", "'a'"]),
        ('fault = "drop"\ndp_ranks = [-1]', ["dp_ranks", "-1"]),
        ('fault = "drop"\nafter_us = -5', ["after_us", "-5"]),
        ('fault = "drop"\nafter_us = 9\nbefore_us = 9', ["before_us", "after_us 9"]),
        ('fault = "drop"\nbefore_us = 0', ["before_us", "0"]),
        ('fault = "delay"', ["delay_us", "needs delay_us"]),
        ('fault = "delay"\ndelay_us = 0', ["delay_us", "0"]),
        ('fault = "delay"\ndelay_us = 1.5', ["delay_us", "1.5"]),
        ('fault = "drop"\ndelay_us = 5', ["delay_us", "only delay", "not drop"]),
        ('fault = "delay"\ndelay_us = 5\ncopies = 2', ["copies", "not delay"]),
        ('fault = "drop"\ncopy_delay_us = 2', ["copy_delay_us", "not drop"]),
        ('fault = "duplicate"\ncopies = 0', ["copies", "0"]),
        ('fault = "duplicate"\ncopies = 1001', ["copies", "1001"]),
        ('fault = "drop"\nname = ""', ["name", "''"]),
    ],
)
def test_a_bad_rule_is_named_with_its_key_and_value(complaint, body, words):
    message = complaint(f'[[rule]]\nname = "good"\nfault = "drop"\n\n[[rule]]\n{body}\n')
    assert re.match(r":[5-9]: rule\[2\]\.", message), message
    for word in words:
        assert word in message


def test_a_bad_top_level_key_is_named(complaint):
    message = complaint("rules = []")
    assert "rules: no such key; did you mean rule?" in message
    assert message.startswith(":1: ")


def test_text_that_is_not_toml_is_refused(complaint):
    assert "not valid TOML" in complaint("[[rule]\n")


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanError, match=r"plan\.toml: not a text file"):
        load_plan(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PlanError, match=r"none\.toml: cannot read the plan: No such file"):
        load_plan(tmp_path / "none.toml")


def test_two_rules_of_one_name_are_refused(complaint):
    rule = '[[rule]]\nname = "lost"\nfault = "drop"\n'
    assert "two rules are called 'lost'" in complaint(rule + rule)


def test_two_unnamed_rules_of_one_content_are_refused(complaint):
    rule = '[[rule]]\nfault = "drop"\nrequest_ids = ["a"]\n'
    assert "two rules are called" in complaint(rule + rule)


def test_an_unnamed_rule_keeps_its_name_wherever_it_stands(load):
    first = '[[rule]]\nfault = "drop"\nprobability = 0.5\n'
    second = '[[rule]]\nfault = "delay"\ndelay_us = 7\n'
    one, other = load(first + second), load(second + first)
    assert {rule.name for rule in one.rules} == {rule.name for rule in other.rules}
    assert len({rule.name for rule in one.rules}) == 2


def test_shortcuts_make_one_rule_each():
    plan = shortcut_plan(drop=0.1, delay=(0.2, 1.5), duplicate=1.0)
    assert [(r.fault, r.direction, r.probability, r.delay_us) for r in plan.rules] == [
        ("drop", "decode", 0.1, 0),
        ("delay", "decode", 0.2, 1_500),
        ("duplicate", "decode", 1.0, 0),
    ]
    assert shortcut_plan(None, None, None) == FaultPlan()


@pytest.mark.parametrize(
    ("drop", "delay", "duplicate", "words"),
    [
        (1.1, None, None, "--drop: 1.1: must be a number between 0 and 1"),
        (-0.5, None, None, "--drop: -0.5: must be a number between 0 and 1"),
        (float("nan"), None, None, "--drop: nan: must be a number between 0 and 1"),
        (None, (2.0, 5.0), None, "--delay: 2: must be a number between 0 and 1"),
        (None, (0.5, 0.0), None, "--delay: 0 ms"),
        (None, (0.5, -1.0), None, "--delay: -1 ms"),
        (None, (0.5, float("inf")), None, "--delay: inf ms"),
        (None, None, 7.0, "--duplicate: 7: must be a number between 0 and 1"),
    ],
)
def test_a_bad_shortcut_names_its_option(drop, delay, duplicate, words):
    with pytest.raises(PlanError) as raised:
        shortcut_plan(drop, delay, duplicate)
    assert words in str(raised.value)


def test_plans_combine_and_names_stay_unique(load):
    plan = load('comment = "c"\n[[rule]]\nname = "lost"\nfault = "drop"\n')
    both = combine(plan, shortcut_plan(0.5, None, None))
    assert [rule.name for rule in both.rules] == ["lost", "drop"]
    assert (both.comment, both.source) == ("c", plan.source)
    with pytest.raises(PlanError, match="two rules are called 'drop'"):
        combine(shortcut_plan(0.5, None, None), shortcut_plan(0.1, None, None))
