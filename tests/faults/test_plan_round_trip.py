"""Every plan that a file can hold is written as text that reads back as the same plan."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_strategies import rules

from faults.kinds.registry import KINDS
from faults.plan import parse_plan
from faults.plan_text import plan_text
from faults.rule import FaultPlan

#: Whatever a TOML file can hold: no lone surrogates.
words = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
names = st.lists(words.filter(bool), min_size=4, max_size=4, unique=True)
drawn = st.lists(st.sampled_from(sorted(KINDS)).flatmap(rules), max_size=4)


@pytest.mark.slow
@given(drawn, names, words)
@settings(max_examples=300)
def test_a_plan_reads_back_as_itself(made, names, comment):
    plan = FaultPlan(
        tuple(rule(name) for rule, name in zip(made, names, strict=False)), comment, "p"
    )
    text = plan_text(plan)
    assert parse_plan(text, "p") == plan
    assert plan_text(parse_plan(text, "p")) == text
