"""docs/faults.md: every plan in it loads, and it leaves no word of the vocabulary out."""

import re
from pathlib import Path

import pytest

from faults.catalogue import builtin_plans
from faults.events import STATE_MEANINGS
from faults.kinds.registry import KINDS
from faults.kinds.timeout import TIMEOUT_STATES
from faults.plan import PlanFile, RuleEntry, parse_plan
from faults.rule import CONDITION_MEANINGS
from replay.profiles.defects import all_defects

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.M | re.S)
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| `")
]


def section(title):
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_there_are_examples():
    assert len(BLOCKS) == PAGE.count("```toml") > 6


@pytest.mark.parametrize("text", BLOCKS)
def test_an_example_loads(text):
    assert parse_plan(text, "docs/faults.md").rules


@pytest.mark.parametrize(
    "words",
    [KINDS, CONDITION_MEANINGS, STATE_MEANINGS],
    ids=["faults", "conditions", "states"],
)
def test_every_word_has_a_row(words):
    first = {row[0].strip("|` ") for row in ROWS}
    assert set(words) <= first


def test_every_key_is_told():
    told = set(re.findall(r"`([a-z_]+)`", PAGE)) | set(re.findall(r"^([a-z_]+) = ", PAGE, re.M))
    assert set(RuleEntry.model_fields) | set(PlanFile.model_fields) <= told | {"rule", "name"}


def test_the_states_of_timeouts_are_told():
    (sentence,) = re.findall(r"there is one in (.*?), but", section(
        "Aborts and timeouts aimed at a state").replace("\n", " "))  # fmt: skip
    assert set(re.findall(r"`([a-z-]+)`", sentence)) == set(TIMEOUT_STATES)


def test_the_table_of_built_in_plans_is_what_they_say():
    rows = {row[0].strip("|` "): row for row in ROWS if len(row) == 6}
    assert list(rows) == [plan.name for plan in builtin_plans()]
    for plan in builtin_plans():
        _, meaning, mode, reports, needs, shows = rows[plan.name]
        facts = plan.facts
        assert meaning == facts.comment.rstrip(".")
        assert mode == (facts.mode or "(none: a control)")
        assert re.findall(r"\((https://[^)]*)\)", reports) == facts.reports
        assert re.findall(r"`([^`]*)`", needs) == facts.needs
        assert shows == f"`{facts.shows}`: {facts.verdict}"


def test_every_mode_has_a_plan_or_a_reason():
    reasons = dict(re.findall(r"^\| ([^`|]+) \| `--defect ([a-z-]+)` \|", PAGE, re.M))
    with_plan = {plan.facts.mode for plan in builtin_plans()} - {""}
    modes = {defect.mode for defect in all_defects().values()}
    assert set(reasons) == modes - with_plan
    for mode, name in reasons.items():
        assert all_defects()[name].mode == mode
