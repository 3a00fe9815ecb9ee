"""A fault kind is one object in a file of its name; nobody else asks for a kind by its name."""

import ast
import re
from pathlib import Path

import pytest

from faults.kinds.registry import KINDS

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "faults" / "kinds"
SOURCES = [
    path
    for package in ("traces", "faults", "replay", "reports")
    for path in sorted((ROOT / package).rglob("*.py"))
    if path.parent != ROOM
]


def names_in(node):
    """The fault kinds that an expression spells in quotes."""
    constants = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    values = [each.value for each in constants if isinstance(each, ast.Constant)]
    return [value for value in values if value in KINDS]


def asks_by_name(node):
    """Whether code compares a fault with a kind in quotes, or has a table or list of such kinds."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        about = " ".join(ast.unparse(side) for side in sides if not names_in(side))
        return any(map(names_in, sides)) and re.search(r"fault|kind", about) is not None
    if isinstance(node, ast.match_case):
        return any(
            isinstance(each, ast.MatchValue) and names_in(each.value)
            for each in ast.walk(node.pattern)
        )
    if isinstance(node, ast.Dict):
        return sum(bool(key is not None and names_in(key)) for key in node.keys) > 1
    return isinstance(node, ast.Tuple | ast.List | ast.Set) and len(names_in(node)) > 1


def places(source):
    return [node.lineno for node in ast.walk(ast.parse(source)) if asks_by_name(node)]


def test_every_kind_is_a_file_of_its_name():
    files = {path.stem for path in ROOM.glob("*.py")} - {"__init__", "base", "registry"}
    assert files == set(KINDS)
    for name, kind in KINDS.items():
        assert type(kind).__module__ == f"faults.kinds.{name}"
        assert kind.keys >= set(kind.one_of) | {only.key for only in kind.only}


def test_nobody_asks_for_a_kind_by_its_name():
    found = {
        path.relative_to(ROOT).as_posix(): lines
        for path in SOURCES
        if (lines := places(path.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "rule.fault == 'drop'",
        "'drop' != event.fault",
        "rule['fault'] in ('drop', other)",
        "kind in {'misroute'}",
        "told = {'drop': 1, 'delay': 2}",
        "HOLDING = ('delay', 'reorder')",
    ],
)
def test_the_rule_sees_what_it_forbids(source):
    assert places(source)


@pytest.mark.parametrize(
    "source", ["arrow.shape == 'early'", "FaultRule('lost', 'drop')", "x = {'delay': 1}"]
)
def test_the_rule_lets_the_rest_pass(source):
    assert not places(source)


def test_one_kind_is_spelled_in_few_files():
    spelled = [
        path
        for package in ("traces", "faults", "replay", "reports")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"\bmisroute\b", path.read_text(encoding="utf-8"))
    ]
    assert len(spelled) <= 6
