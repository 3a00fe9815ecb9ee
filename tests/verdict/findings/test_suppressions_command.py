"""`--suppressions` from the command line: exit codes, what is said on stderr, what the page shows."""

import re
import tomllib

import pytest

from replay.cli import run_command_line

PROFILE = ["--profile", "sglang-0.4.6.post4", "--seed", "2", "--device", "cpu"]
LOST = ["--drop", "0.1"]
LATE = ["--delay", "0.1:900"]


def entry(name="known", expires="2027-03-31", **keys):
    keys = keys or {"fault": "drop"}
    lines = [f"{key} = {value!r}" if isinstance(value, str) else f"{key} = {value}"
             for key, value in keys.items()]  # fmt: skip
    head = f'[[suppression]]\nname = "{name}"\nreason = "agreed <b>with</b> Ann"\nexpires = {expires}\n'
    return head + "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three recordings: completions lost, late, and untouched."""
    root = tmp_path_factory.mktemp("suppressed")
    trace = str(root / "trace.parquet")
    run_command_line(["trace", "synth", "-o", trace, "--requests", "40", "--rate", "4"])
    for name, faults in {"lost": LOST, "late": LATE, "calm": []}.items():
        run_command_line(["run", trace, *PROFILE, *faults, "--out", str(root / name)])
    return root


@pytest.fixture
def kvreplay(made, monkeypatch, tmp_path, capsys):
    """Run a command beside the recordings on a day in 2026; (exit code, stdout, stderr)."""
    monkeypatch.chdir(made)
    capsys.readouterr()

    def run(*words, accepted=None, today="2026-06-15"):
        if accepted is not None:
            (tmp_path / "accepted.toml").write_text(accepted)
            words = (*words, "--suppressions", str(tmp_path / "accepted.toml"), "--today", today)
        if words[0] == "report" and "--gen-suppressions" not in words:
            words = (*words, "-o", str(tmp_path / "page.html"))
        code = run_command_line(list(words))
        return code, *capsys.readouterr()

    run.page = lambda: (tmp_path / "page.html").read_text()
    return run


@pytest.mark.parametrize(
    ("accepted", "code", "said"),
    [
        (entry(), 0, ""),
        (entry(expires="2026-06-15"), 0, ""),
        (entry(expires="2026-06-14"), 1, "expired on 2026-06-14 (1 day ago)"),
        (entry() + entry("gone", "2020-01-01", kind="orphaned"), 1, "'gone' expired"),
        (entry(fault="misroute"), 1, "not accepted: "),
        (entry(fault="drop", pages_max=1), 1, "accepts at most 1 page"),
        (entry() + entry("idle", fault="misroute"), 0, "'idle' is unused"),
        ("", 1, "not accepted: "),
    ],
)
def test_exit_codes_of_a_leak(kvreplay, accepted, code, said):
    for words in (["report", "lost"], ["run", "trace.parquet", *PROFILE, *LOST]):
        found, out, err = kvreplay(*words, accepted=accepted)
        assert found == code, (out, err)
        assert said in err


def test_without_the_file_everything_is_as_ever(kvreplay):
    assert kvreplay("report", "lost")[0] == 0
    assert kvreplay("run", "trace.parquet", *PROFILE, *LOST)[0] == 1
    assert "uppress" not in re.sub(r"<style>.*?</style>|known and accepted.*?</td>", "", kvreplay.page(),
                                   flags=re.S | re.I).replace("suppressed", "")  # fmt: skip


@pytest.mark.parametrize("name", ["late", "calm"])
def test_what_came_back_never_fails(kvreplay, name):
    code, _, err = kvreplay("report", name, accepted="")
    assert (code, err) == (0, "")


def test_what_is_expected_and_what_is_accepted_must_both_be_so(kvreplay):
    lost = ["run", "trace.parquet", *PROFILE, *LOST]
    assert kvreplay(*lost, "--expect", "persistent", accepted=entry())[0] == 0
    assert kvreplay(*lost, "--expect", "transient", accepted=entry())[0] == 1
    assert kvreplay(*lost, "--expect", "persistent", accepted=entry(kind="orphaned"))[0] == 1


def test_a_replay_that_cannot_tell_is_not_accepted(kvreplay):
    never = ["run", "trace.parquet", *PROFILE, "--drop", "0", "--out", "never"]
    code, _, err = kvreplay(*never, accepted=entry())
    assert code == 3 and "cannot tell" in err
    assert kvreplay("report", "never", "lost", accepted=entry())[0] == 3
    assert kvreplay("report", "never", "lost", accepted="")[0] == 1


def test_a_bad_file_is_exit_2_before_anything_is_done(kvreplay, made):
    for words in (["report", "lost"], ["run", "trace.parquet", *PROFILE, "--out", "unmade"]):
        code, out, err = kvreplay(*words, accepted=entry().replace("agreed <b>with</b> Ann", ""))
        assert (code, out) == (2, "")
        assert err.count("\n") == 1 and "accepted.toml:3: " in err and "say why" in err
    assert not (made / "unmade").exists()
    assert kvreplay("report", "lost", accepted="", today="tomorrow")[0] == 2


def test_the_page_tells_suppressed_findings_apart(kvreplay):
    grown = entry("small", fault="drop", pages_max=1)
    kvreplay("report", "lost", accepted=grown + entry() + entry("old", "2026-01-01") +
             entry("idle", fault="misroute"))  # fmt: skip
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", kvreplay.page()))
    assert "Every finding is suppressed." in text
    for words in (
        "known (", "agreed &lt;b&gt;with&lt;/b&gt; Ann", "2027-03-31, 289 days left on 2026-06-15",
        "old (", "expired on 2026-01-01, 165 days before 2026-06-15: it suppresses nothing.",
        "small (", "accepts at most 1 page and matches", "Entries without a match: idle (",
    ):  # fmt: skip
        assert words in text
    assert "<b>with" not in kvreplay.page()


def test_the_same_day_makes_the_same_page(kvreplay):
    kvreplay("report", "lost", accepted=entry())
    first = kvreplay.page()
    kvreplay("report", "lost", accepted=entry())
    assert kvreplay.page() == first
    kvreplay("report", "lost", accepted=entry(), today="2026-06-16")
    assert kvreplay.page() != first


def test_generated_suppressions_count_once_they_are_filled_in(kvreplay):
    code, text, err = kvreplay("report", "lost", "late", "--gen-suppressions")
    assert (code, err) == (0, "")
    assert len(tomllib.loads(text)["suppression"]) == 1, "one for each way of going wrong"
    assert kvreplay("report", "lost", accepted=text)[0] == 2
    with_reason = text.replace('reason = ""', 'reason = "known"')
    assert kvreplay("report", "lost", accepted=with_reason)[0] == 2
    filled = with_reason.replace('expires = ""', "expires = 2027-03-31")
    assert kvreplay("report", "lost", "late", accepted=filled)[0] == 0
    code, text, _ = kvreplay("report", "lost", "--gen-suppressions", accepted=filled)
    assert code == 0 and text.startswith("# No finding")
