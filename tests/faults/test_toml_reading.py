"""What is absurd in a TOML file is refused before it costs anything, and nothing else is."""

import re
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.plan import load_plan, parse_plan
from faults.rule import PlanError
from faults.toml.reading import (
    DEPTH_MAX,
    FILE_BYTES_MAX,
    KEY_CHARACTERS_MAX,
    KEY_PARTS_MAX,
    TomlError,
    parse_toml,
    toml_text,
)
from replay.errors import MatrixError, SuppressionError
from replay.run.matrix_file import parse_matrix
from replay.verdict.findings.suppressions import parse_suppressions

ROOT = Path(__file__).parents[2]
MANY = ".".join(["a"] * 100_000)


@pytest.mark.parametrize(
    "text, line, what",
    [
        (f"{MANY} = 1", 1, "dotted parts"),
        (f"x = 1\n\n{MANY} = 1", 3, "dotted parts"),
        (f"x = 1\n[{MANY}]\n", 2, "dotted parts"),
        (f"x = 1\n[[{MANY}]]\n", 2, "dotted parts"),
        (f"x = {{ y = 1, {MANY} = 1 }}", 1, "dotted parts"),
        (f"x = [ {{ {MANY} = 1 }} ]", 1, "dotted parts"),
        (MANY.replace("a", '"a"') + " = 1", 1, "dotted parts"),
        (MANY.replace("a", "'a.b'") + " = 1", 1, "dotted parts"),
        (MANY.replace(".", " . ") + " = 1", 1, "dotted parts"),
        ('x = """\n."""\n' + MANY + " = 1", 3, "dotted parts"),
        ('x = "a"\n# "\n' + MANY + " = 1", 3, "dotted parts"),
        ("\n" + "a" * 1_000_000 + " = 1", 2, f"{KEY_CHARACTERS_MAX} characters"),
        ('"' + "a" * 1_000_000 + '" = 1', 1, f"{KEY_CHARACTERS_MAX} characters"),
        ("\nx = " + "[" * 100_000, 2, "brackets"),
        ("\nx = " + "{y=" * 100_000, 2, "brackets"),
    ],
)
def test_what_nobody_writes_is_refused_at_once(text, line, what):
    began = time.process_time()
    with pytest.raises(TomlError, match=what) as found:
        parse_toml(text)
    assert time.process_time() - began < 2
    assert found.value.line == line
    assert found.value.at("f.toml").startswith(f"f.toml:{line}: ")


@pytest.mark.parametrize(
    "text",
    [
        'x = "' + "." * 100_000 + '"',
        "x = '" + "a = b." * 10_000 + "'",
        'x = """\n' + "a.b.c.d = [{\n" * 20_000 + '"""',
        "x = '''\n" + "[[a.b.c\n" * 20_000 + "'''",
        'x = """a"" ' + "." * 500 + '"""""',
        'x = "\\"' + "." * 500 + '"',
        "# " + "." * 100_000 + "\nx = 1",
        "x = [" + "1.5, " * 20_000 + "]",
        "x = [\n" + '"a.b", # ...............................................\n' * 2_000 + "]",
        "x = [" + "1979-05-27T00:32:00.999999, " * 1_000 + "]",
        ".".join(["a"] * KEY_PARTS_MAX) + " = 1.5",
        "a" * (KEY_CHARACTERS_MAX - 1) + " = 1",
        "x = " + "[" * DEPTH_MAX + "]" * DEPTH_MAX,
        "\n".join(f"[t{at}.a.b]\nx = {{ y.z = [1.5] }}" for at in range(1_000)),
        'x = "a.b"\r\ny."a.b".c = \'a.b\'\r\n',
    ],
)
def test_what_only_looks_like_it_is_read(text):
    assert parse_toml(text) == tomllib.loads(text)


@given(st.text(st.sampled_from("ab.=[]{},\"'\\\n #1")))
def test_short_texts_mean_what_tomllib_says(text):
    try:
        wanted = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        with pytest.raises(TomlError, match=re.escape(str(problem))):
            parse_toml(text)
        return
    assert parse_toml(text) == wanted


def test_every_reader_of_ours_goes_through_it():
    for parse, error in (
        (lambda text: parse_plan(text, "f"), PlanError),
        (lambda text: parse_matrix(text, Path("f")), MatrixError),
        (lambda text: parse_suppressions(text, Path("f")), SuppressionError),
    ):
        with pytest.raises(error, match=r"^f:2: a key of more than 32 dotted parts, "):
            parse(f"\n{MANY} = 1")
        with pytest.raises(error, match=r"^f: not valid TOML: "):
            parse("x = " + "9" * 5_000)
    users = [
        path.relative_to(ROOT).as_posix()
        for package in ("faults", "replay", "reports", "traces")
        for path in (ROOT / package).rglob("*.py")
        if "tomllib.load" in path.read_text(encoding="utf-8")
    ]
    # The second reads one quoted key of a text that has been read.
    assert sorted(users) == ["faults/toml/lines.py", "faults/toml/reading.py"]


def test_files_are_bounded_and_said_what_is_wrong_with(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    with pytest.raises(TomlError, match="more than 16 MiB; no plan file is that large"):
        toml_text(path, "plan")
    with pytest.raises(PlanError, match=r"plan\.toml: more than 16 MiB"):
        load_plan(path)
    path.write_bytes("x = 1".encode("utf-16"))
    with pytest.raises(
        PlanError, match=r"plan\.toml: not a text file; the plan should be TOML in UTF-8"
    ):
        load_plan(path)
    with pytest.raises(PlanError, match="cannot read the plan: No such file"):
        load_plan(tmp_path / "none")
