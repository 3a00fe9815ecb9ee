"""What the pages about matrices and CI show can be typed as it stands."""

import re
import shlex
from pathlib import Path

import pytest

from replay.cli import cli, run_command_line

DOCS = Path(__file__).parents[2] / "docs"
yaml = pytest.importorskip("yaml")


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def command_lines(page):
    """Lines that begin with kvreplay, indented as a block or a step of a job."""
    text = (DOCS / page).read_text()
    found = re.findall(r"^ +(?:- )?(?:run: )?(kvreplay [^\n#]*)", text, re.MULTILINE)
    return [line.replace("${{ matrix.shard }}", "1").strip() for line in found]


def test_the_matrix_file_of_the_page_is_sound(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (text,) = blocks("matrix.md", "toml")
    Path("nightly.kvmatrix.toml").write_text(text)
    assert run_command_line(["matrix", "list", "nightly.kvmatrix.toml"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "", "no exclude or expectation of the page is idle"
    assert "18 cells" in shown.out


def test_the_jobs_of_the_page_are_yaml():
    github, gitlab = (yaml.safe_load(text) for text in blocks("ci.md", "yaml"))
    assert github["jobs"]["report"]["needs"] == "shard"
    shards = github["jobs"]["shard"]["strategy"]["matrix"]["shard"]
    steps = [step.get("run", "") for step in github["jobs"]["shard"]["steps"]]
    assert any(f"/{len(shards)} " in step for step in steps), "as many shards as the job has"
    assert gitlab["pages"]["artifacts"]["reports"]["junit"] == "junit.xml"


@pytest.mark.parametrize(
    "line", [*command_lines("ci.md"), *command_lines("matrix.md")], ids=lambda line: line[:60]
)
def test_every_command_of_the_pages_has_these_options(line):
    words = shlex.split(line.replace("$CI_NODE_INDEX", "1").replace("$CI_NODE_TOTAL", "3"))[1:]
    assert words[0] == "matrix"
    group = cli.get_command(None, "matrix")
    command = group.get_command(None, words[1])
    with command.make_context(words[1], [word for word in words[2:] if word != "..."]) as context:
        assert context.params
