"""The commands of README.md and of every page in docs/ run as written, in the page's order."""

import re
from pathlib import Path

import pytest
from page_commands import (
    PAGES,
    ROOT,
    check_options,
    command_lines,
    commands,
    setup_of,
    text_of,
    words_of,
)

RUN = [page for page in PAGES if any(not setup_of(page).skips(line) for line in commands(page))]


def test_most_pages_have_commands_that_run():
    assert len(RUN) > 9
    assert sum(len(commands(page)) for page in PAGES) > 90


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_run(page, ran):
    _, outcomes = ran(page)
    assert [(o.line, o.err) for o in outcomes if o.code not in (0, 1, 3)] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_exists(page):
    for line in commands(page):
        check_options(words_of(line)[0])
    for line in re.findall(r"`kvreplay ([^`]+)`", text_of(page).replace("\n", " ")):
        check_options(line.split())


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_and_script_exists(page):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    for line in [*command_lines(page), *re.findall(r"`([^`]+)`", text_of(page))]:
        if found := re.match(r"make ([a-z]+)", line):
            assert found[1] in targets, line
        if found := re.match(r"(?:\.venv/bin/)?python (?:-m pytest )?([\w/.]+\.py)", line):
            assert (ROOT / found[1]).is_file(), line


def test_a_pattern_of_commands_that_do_not_run_meets_one():
    for page in PAGES:
        for pattern in setup_of(page).not_run:
            assert any(re.search(pattern, line) for line in commands(page)), (page, pattern)


@pytest.mark.slow
def test_the_verdicts_that_the_readme_states(ran):
    _, outcomes = ran("README.md")
    codes = [o.code for o in outcomes if o.line.startswith("kvreplay run conv")][:3]
    assert codes == [0, 1, 0]
    lost, late = (o.out for o in outcomes if o.line.endswith(("--out lost", "--out late")))
    assert "PERSISTENT" in lost and "TRANSIENT" in late


@pytest.mark.slow
def test_the_verdicts_that_the_tutorial_states(ran):
    folder, outcomes = ran("docs/tutorial.md")
    verdicts = [
        (re.search(r"INCONCLUSIVE|PERSISTENT|TRANSIENT|CLEAN", outcome.out) or [""])[0].lower()
        for outcome in outcomes
        if re.match(r"kvreplay (diagnose|reproduce|run)", outcome.line)
    ]
    assert verdicts[:4] == ["inconclusive", "persistent", "transient", "persistent"]
    assert verdicts[4:8] == ["persistent", "persistent", "transient", "transient"]
    expected = [outcome for outcome in outcomes if "--expect transient" in outcome.line]
    assert [outcome.code for outcome in expected] == [0]
    (freed,) = (outcome for outcome in outcomes if outcome.line.endswith("--out freed"))
    assert "PERSISTENT" in freed.out
    assert (folder / "M" / "matrix.html").exists() is False, "README.md runs the matrix"


@pytest.mark.slow
def test_the_page_of_a_matrix_is_where_the_tutorial_says(ran):
    folder, _ = ran("README.md")
    assert (folder / "M" / "matrix.html").is_file()
    assert Path(folder, "j.xml").is_file()
