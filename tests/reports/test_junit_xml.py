"""JUnit XML: valid, complete, the same each time, and no text can break it."""

import os
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junit_schema import NoSchemaError, junit_schema_file
from matrix_results import HOSTILE, MATRIX, row, table, thousand_cells

from replay.errors import RecordingError
from replay.matrix.results_schema import OUTCOMES
from reports.outputs.matrix.junit import junit_xml
from traces.text import printable

#: Columns whose text must come out whole in a failure.
TOLD = ("because", "expected", "verdict", "why", "equation", "engine_message", "error", "reproduce")


@pytest.fixture(scope="session")
def schema():
    from lxml import etree

    try:
        return etree.XMLSchema(file=str(junit_schema_file()))
    except NoSchemaError as error:
        if os.environ.get("KVREPLAY_NEEDS_WHEELS") == "1":
            pytest.fail(f"the schema tests must run: {error}")
        pytest.skip(f"no JUnit schema to validate with: {error}")


def assert_valid(schema, xml):
    from lxml import etree

    schema.assertValid(etree.fromstring(xml.encode()))


def parsed(xml):
    """The suite of the file, and its cases."""
    root = ElementTree.fromstring(xml)
    [suite] = root
    for name in ("tests", "failures", "errors", "time"):
        assert root.get(name) == suite.get(name)
    return suite, suite.findall("testcase")


@st.composite
def any_results(draw):
    """A few rows with any text, of any outcome, and a matrix that says anything of itself."""
    text = st.one_of(st.text(max_size=20), st.sampled_from([HOSTILE, "\x1b[31m\x00", "\r\n\t "]))
    rows = []
    for number in range(draw(st.integers(0, 4))):
        columns = {name: draw(st.none() | text) for name in (*TOLD, "cell", "profile", "plan")}
        columns["outcome"] = draw(st.sampled_from(OUTCOMES))
        columns["rules_never_fired"] = draw(st.none() | st.lists(text, max_size=2))
        columns["timing_cell_s"] = draw(st.none() | st.floats())
        columns["expected_line"] = draw(st.none() | st.integers(0, 99))
        rows.append(row(number, **columns))
    wild = st.text(st.characters(exclude_categories=()), max_size=10)
    file = {"path": draw(wild), "sha256": draw(wild)}
    about = {"name": draw(wild), "shard": draw(st.none() | wild), "file": file}
    return rows, {**MATRIX, **about}


@pytest.mark.slow
@given(any_results())
def test_any_text_comes_out_as_it_went_in(drawn):
    rows, matrix = drawn
    suite, cases = parsed(junit_xml(table(rows), matrix))
    assert [case.get("name") for case in cases] == [printable(each["cell"] or "") for each in rows]
    assert suite.get("file", "") == printable(matrix["file"]["path"])
    for case, each in zip(cases, rows, strict=True):
        if each["outcome"] == "passed":
            assert len(case) == 0
            continue
        [problem] = case
        assert problem.get("type") == each["outcome"]
        for name in TOLD:
            # What says why there was a verdict is told with the verdict.
            if name != "why" or each["verdict"] is not None:
                assert printable(each[name] or "") in problem.text
        for rule in each["rules_never_fired"] or ():
            assert printable(rule) in problem.text
    counts = [len(suite.findall(f"testcase/{kind}")) for kind in ("failure", "error")]
    assert [int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")] == [
        len(rows),
        *counts,
        0,
    ]


@pytest.mark.slow
@given(any_results())
def test_any_text_is_valid(schema, drawn):
    rows, matrix = drawn
    assert_valid(schema, junit_xml(table(rows), matrix))


def test_a_thousand_cells_are_valid(schema):
    xml = junit_xml(table(thousand_cells()), MATRIX)
    assert_valid(schema, xml)
    suite, cases = parsed(xml)
    assert (len(cases), suite.get("failures"), suite.get("errors")) == (1000, "3", "3")
    assert suite.get("time") == "250.000"


def test_the_schema_would_object(schema):
    """The validation sees what these tests rely on it to see."""
    from lxml import etree

    xml = junit_xml(table([row()]), MATRIX)
    for wrong in (xml.replace("tests=", "count="), xml.replace("testcase", "case")):
        with pytest.raises(etree.DocumentInvalid):
            assert_valid(schema, wrong)


@pytest.mark.parametrize(
    ("outcome", "element"),
    [
        ("inconclusive", "failure"),
        ("failed", "failure"),
        ("timed-out", "error"),
        ("out-of-memory", "error"),
        ("crashed", "error"),
    ],
)
def test_every_unexpected_cell_is_red(outcome, element):
    _, [case] = parsed(junit_xml(table([row(outcome=outcome)]), MATRIX))
    assert [(each.tag, each.get("type")) for each in case] == [(element, outcome)]


def test_the_failure_says_what_broke_and_ends_with_how_to_repeat_it():
    broken = row(
        outcome="failed",
        verdict="persistent",
        kinds="orphaned",
        growth="growing",
        because="expected clean, found\npersistent",
        equation="decode0/dp3: available 64 = 64, total 128: gap 64 tokens = 1 pages of 64",
        engine_message="memory leak detected!\nsecond line",
    )
    _, [case] = parsed(junit_xml(table([broken]), MATRIX))
    [failure] = case
    assert failure.get("message") == "expected clean, found persistent"
    assert failure.text.split("\n") == [
        "outcome: failed",
        "because:",
        "expected clean, found",
        "persistent",
        "expected: verdict = clean (ci/nightly.kvmatrix.toml:12)",
        "verdict: persistent: 532 pages still unaccounted for when nothing was left to come "
        "(orphaned; growth growing)",
        "equation: decode0/dp3: available 64 = 64, total 128: gap 64 tokens = 1 pages of 64",
        "engine message:",
        "memory leak detected!",
        "second line",
        "faults: 3 landed of 3 planned, 3 observed",
        "reproduce: kvreplay run traces/toolagent.parquet --profile hardened --seed 0",
    ]


def test_cells_are_grouped_by_matrix_and_profile():
    """Jenkins takes what is before the last dot for the package, so names must bring none."""
    rows = [row(0, profile="sglang-0.4.6.post4"), row(1, profile=None)]
    _, cases = parsed(junit_xml(table(rows), {**MATRIX, "name": "night.ly"}))
    assert [case.get("classname") for case in cases] == [
        "night_ly.sglang-0_4_6_post4",
        "night_ly.no profile",
    ]


def test_shards_do_not_overwrite_each_other():
    """Jenkins keeps one of two suites of the same name and time."""
    suites = [parsed(junit_xml(table([row()]), {**MATRIX, "shard": f"{n}/2"}))[0] for n in (1, 2)]
    assert len({suite.get("name") for suite in suites}) == 2
    assert not any("timestamp" in suite.attrib for suite in suites)


def test_a_crash_that_says_a_lot_is_cut():
    _, [case] = parsed(junit_xml(table([row(outcome="crashed", error="x" * 10**6)]), MATRIX))
    assert len(case[0].text) < 70_000
    assert "(934,464 more characters)" in case[0].text


def test_another_table_is_one_sentence():
    with pytest.raises(RecordingError, match="it has no column outcome"):
        junit_xml(table([row()]).drop_columns(["outcome"]), MATRIX)
