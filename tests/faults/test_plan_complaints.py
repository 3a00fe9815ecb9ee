"""Every mistake in a plan file is answered with its line, its key, what was expected, and what is near."""

import pytest

from faults.plan import parse_plan
from faults.rule import PlanError

#: Body of a second rule, of which the first line is line 7; the line and words of the complaint.
MISTAKES = [
    # Misspelt names.
    ('fault = "drp"', 7, "rule[2].fault: 'drp' is not valid; did you mean drop?"),
    ('fault = "drop"\nprobabilty = 1.0', 8, "probabilty: no such key; did you mean probability?"),
    ('fault = "delay"\nuntil = "give-up"', 8, "until: 'give-up' is not valid; did you mean given-"),
    ('fault = "abort"\nwhen = "landd"', 8, "when: 'landd' is not valid; did you mean landed?"),
    ('fault = "abort"\nwhen = "in-fligt"', 8, "'in-fligt' is not valid; did you mean in-flight?"),
    ('fault = "misroute"\nto = "rom"', 8, "to: 'rom' is not valid; did you mean room?"),
    ('fault = "misroute"\nto = "zzz"', 8, "to: 'zzz' is not valid; there are kind, rank, room"),
    (
        'fault = "drop"\nstates = ["landd"]',
        8,
        'no state "landd" on the decode side; did you mean l',
    ),
    (
        'fault = "drop"\ndirection = "prefill"\nstates = ["transfer"]',
        9,
        'rule[2].states: no state "transfer" on the prefill side; there are bootstrap,',
    ),
    ('fault = "stale"\nuntil = "heal"', 8, '"heal" is no reuse; give pages-reused or room-'),
    # Values that may have several types.
    (
        'fault = "delay"\ndelay_us = { unifrm = [1, 2] }',
        8,
        "rule[2].delay_us.unifrm: no such key; did you mean uniform?",
    ),
    (
        'fault = "delay"\n[rule.delay_us]\nunifrm = [1, 2]',
        9,
        "rule[2].delay_us.unifrm: no such key; did you mean uniform?",
    ),
    (
        'fault = "delay"\ndelay_us = "5ms"',
        8,
        "rule[2].delay_us: '5ms': should be a valid integer or a table",
    ),
    ('fault = "delay"\ndelay_us = [5]', 8, "delay_us: [5]: should be a valid integer or a table"),
    ('fault = "delay"\ndelay_us = {}', 8, "delay_us: give either uniform = [LEAST, MOST] or logn"),
    (
        'fault = "delay"\ndelay_us = { uniform = [1] }',
        8,
        "rule[2].delay_us.uniform: [1]: should have at least 2",
    ),
    (
        'fault = "delay"\ndelay_us = { uniform = [1, 2, 3] }',
        8,
        "rule[2].delay_us.uniform: [1, 2, 3]: should have at most 2",
    ),
    (
        'fault = "delay"\ndelay_us = { uniform = [\n1,\n2.5] }',
        10,
        "rule[2].delay_us.uniform[2]: 2.5: should be a valid integer",
    ),
    ('fault = "delay"\ndelay_us = { uniform = [5, 2] }', 8, "uniform goes from 5 down to 2"),
    ('fault = "delay"\ndelay_us = 99999999999999', 8, "should be less than or equal to 315360"),
    (
        'fault = "delay"\ndelay_us = { lognormal = { median = 1, sigma = 1.0 } }',
        8,
        "rule[2].delay_us.lognormal.median: no such key; did you mean median_us?",
    ),
    (
        'fault = "delay"\ndelay_us = { lognormal = { median_us = 5 } }',
        8,
        "rule[2].delay_us.lognormal.sigma: missing, and it must be given",
    ),
    (
        'fault = "delay"\ndelay_us = { lognormal = { median_us = 5, sigma = 0.0 } }',
        8,
        "rule[2].delay_us.lognormal.sigma: 0.0: should be greater than 0",
    ),
    (
        'fault = "delay"\ndelay_us = { lognormal = { median_us = 5, sigma = 1.0, max_us = 4 } }',
        8,
        "rule[2].delay_us: max_us 4 is below median_us 5",
    ),
    (
        'fault = "delay"\ndelay_us = { lognormal = 5 }',
        8,
        "delay_us.lognormal: 5: should be a table",
    ),
    (
        'fault = "delay"\ndelay_us = { uniform = [1, 2], lognormal = { median_us = 1, sigma = 1 } }',
        8,
        "rule[2].delay_us: give either",
    ),
    # Lists.
    (
        'fault = "duplicate"\ncopies = 2\ncopy_delay_us = [1]',
        9,
        "rule[2].copy_delay_us: 1 delays for 2 copies; give one for each",
    ),
    (
        'fault = "duplicate"\ncopies = 2\ncopy_delay_us = [1,\n-1]',
        10,
        "rule[2].copy_delay_us[2]: -1: should be greater than or equal to 0",
    ),
    (
        'fault = "duplicate"\ncopy_delay_us = []',
        8,
        "rule[2].copy_delay_us: []: should have at least 1",
    ),
    (
        'fault = "duplicate"\ncopy_delay_us = "x"',
        8,
        "rule[2].copy_delay_us: 'x': should be a valid integer or a valid list or a table",
    ),
    (
        'fault = "drop"\nrequest_ids = ["a",\n1]',
        9,
        "rule[2].request_ids[2]: 1: should be a valid s",
    ),
    ('fault = "drop"\npools = "decode0/dp0"', 8, "pools: 'decode0/dp0': should be a valid list"),
    ('fault = "drop"\nstates = []', 8, "rule[2].states: []: should have at least 1"),
    # Bursts.
    ('fault = "drop"\nburst = 5', 8, "rule[2].burst: 5: should be a table"),
    (
        'fault = "drop"\nburst = { lenght_us = 5, every_us = 9 }',
        8,
        "rule[2].burst.lenght_us: no such key; did you mean length_us?",
    ),
    (
        'fault = "drop"\n[rule.burst]\nlength_us = 5\nevry_us = 9',
        10,
        "rule[2].burst.evry_us: no such key; did you mean every_us?",
    ),
    ('fault = "drop"\nburst = { every_us = 4 }', 8, "rule[2].burst.length_us: missing"),
    ('fault = "drop"\nburst = { length_us = 5, every_us = 4 }', 8, "a window of 5 us does not fit"),
    (
        'fault = "drop"\nburst = { length_us = 1, every_us = 4, hits = "ranks" }',
        8,
        "rule[2].burst.hits: 'ranks' is not valid; did you mean rank?",
    ),
    # Keys that do not go together.
    ('fault = "reorder"', 5, 'rule[2].window_us: missing, and fault = "reorder" needs it'),
    ('fault = "abort"', 5, 'rule[2].when: missing, and fault = "abort" needs it'),
    (
        'fault = "timeout"\nwhen = "running"',
        8,
        'when: no engine has a timeout in "running"; give b',
    ),
    ('fault = "drop"\nwhen = "landed"', 8, "when: only abort or timeout takes it, not drop"),
    ('fault = "drop"\nkeep = 1', 8, "keep: only partial takes it, not drop"),
    ('fault = "abort"\nwhen = "landed"\nstates = ["landed"]', 9, "states: abort acts on a request"),
    ('fault = "drop"\noccurrences_per = "rank"', 8, "occurrences_per: says what occurrences are"),
    ('fault = "drop"\nafter_us = 9\nbefore_us = 9', 9, "before_us: 9 is not later than after_us 9"),
]


@pytest.mark.parametrize(("body", "line", "words"), MISTAKES, ids=[body for body, *_ in MISTAKES])
def test_a_mistake_is_told_with_its_line_key_and_what_was_expected(body, line, words):
    text = f'[[rule]]\nname = "good"\nfault = "drop"\n\n[[rule]]\nname = "bad"\n{body}\n'
    with pytest.raises(PlanError) as raised:
        parse_plan(text, "folder/plan.toml")
    message = str(raised.value)
    assert message.startswith(f"folder/plan.toml:{line}: rule[2]"), message
    assert words in message
    assert "\n" not in message
    for jargon in ("pydantic", "constrained", "Entry", "validation", "dictionary"):
        assert jargon not in message


def test_the_second_of_two_rules_of_one_name_is_pointed_at():
    text = '[[rule]]\nname = "a"\nfault = "drop"\n\n\n[[rule]]\nfault = "fail"\nname = "a"\n'
    with pytest.raises(PlanError, match=r"^p:6: two rules are called 'a'"):
        parse_plan(text, "p")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rule = 5", "p:1: rule: 5: should be a valid list"),
        ("rule = [\n5]", "p:2: rule[1]: 5: should be a table"),
        ('[rule]\nfault = "drop"', "p:1: rule: {'fault': 'drop'}: should be a valid list"),
        ('[[rules]]\nfault = "drop"', "p:1: rules: no such key; did you mean rule?"),
        ("comment = 5", "p:1: comment: 5: should be a valid string"),
        ('[[rule]]\nname = "a"\nname = "b"', "p: not valid TOML: Cannot overwrite a value"),
        ("[[rule]]\nfault = drop", "p: not valid TOML: Invalid value (at line 2, column 9)"),
    ],
)
def test_a_mistake_outside_a_rule_is_told_as_well(text, words):
    with pytest.raises(PlanError) as raised:
        parse_plan(text, "p")
    assert str(raised.value).startswith(words)
