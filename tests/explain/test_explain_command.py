"""`kvreplay explain`: what it finds, prints and refuses."""

import json
import re

import pytest
from life_helpers import every, record

from faults.rule import FaultRule
from replay.cli import run_command_line
from traces.schema import TraceRequest

POST4 = "sglang-0.4.6.post4"
LOST = FaultRule("lost", "drop", request_ids=frozenset({"q1"}))


@pytest.fixture
def explain(capsys):
    """Run `kvreplay explain`: (exit code, stdout, stderr)."""

    def run(*words):
        capsys.readouterr()
        code = run_command_line(["explain", *[str(word) for word in words]])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def dropped(tmp_path):
    return record(tmp_path, POST4, every(1_000_000, 3), LOST).directory


def test_without_a_question_it_is_the_guilty_request(dropped, explain):
    code, out, err = explain(dropped)
    assert (code, err) == (0, "")
    assert out.startswith(
        "request q1\nIt never ended and 7 pages on decode DP 0 never left the gap"
    )
    assert "It is the guilty request of the worst episode, in decode0/dp0." in out
    (blame,) = [line for line in out.splitlines() if line.startswith(">>")]
    assert "the completion of room 1 from prefill TP 0 is sent: it is lost" in blame
    assert max(map(len, out.splitlines())) <= 100


def test_its_json_follows_the_schema(dropped, explain):
    code, out, _ = explain(dropped, "--request", "q1", "--json")
    life = json.loads(out)
    assert code == 0
    assert life["schema"] == "kvreplay.life/1"
    assert life["subject"] == {"kind": "request", "name": "q1"}
    assert (life["source"], life["note"], life["chosen"]) == ("replay", None, None)
    assert life["steps_total"] == len(life["steps"])
    step = life["steps"][life["blame"]]
    assert (step["step"], step["fault"], step["rule"]) == (life["blame"], "drop", "lost")
    takes = [each for each in life["steps"] if each["what"] == "takes 7 pages"]
    assert [each["where"] for each in takes] == ["decode0/dp0", "prefill0/dp0"]
    assert all(each["page_ranges"] == [[1, 7]] for each in takes)
    assert all(set(each) == set(step) for each in life["steps"])


def test_the_page_of_a_stuck_request_names_its_owners_and_the_fault(dropped, explain):
    number, pool = 1, "decode0/dp0"
    code, out, _ = explain(dropped, "--page", f"{pool}:{number}", "--json")
    life = json.loads(out)
    assert code == 0
    step = life["steps"][life["blame"]]
    assert (step["rule"], step["request_id"]) == ("lost", "q1")
    assert "is q1's in the end" in life["headline"]
    assert "the completion of room 1 from prefill TP 0 was dropped" in life["headline"]
    assert any("enter the gap: stuck" in each["what"] for each in life["steps"])
    assert explain(dropped, "--page", number, "--pool", pool, "--json")[1] == out


def test_a_unique_beginning_is_enough_and_another_is_one_sentence(tmp_path, explain):
    requests = [TraceRequest(name, at, 50, 5) for at, name in enumerate(("abc", "abd", "xyz"))]
    recording = record(tmp_path, POST4, requests).directory
    assert explain(recording, "--request", "x")[1].startswith("request xyz\n")
    code, out, err = explain(recording, "--request", "ab")
    assert (code, out) == (2, "")
    assert "2 requests begin with 'ab': 'abc', 'abd'; name one" in err
    code, _, err = explain(recording, "--request", "abx")
    assert code == 2
    assert "has no request 'abx'; the nearest are 'abd', 'abc', 'xyz'" in err.replace("\n", " ")
    assert err.count("\n") == 1
    code, _, err = explain(recording)
    assert (code, err.count("\n")) == (2, 1)
    assert "no request of it is guilty of anything; name one with --request" in err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--page", "decode0/dp9:1"], "has no pool 'decode0/dp9'; there are prefill0/dp0"),
        (["--page", "decode0/dp0:0"], "has the pages 1 to 4096; there is no page 0"),
        (["--page", "decode0/dp0:4097"], "there is no page 4097"),
        (["--page", "decode0/dp0:x"], "'x' is not the number of a page"),
        (["--page", "decode0/dp0:-1"], "'-1' is not the number of a page"),
        (["--page", "decode0/dp0:²"], "is not the number of a page"),
        (["--page", "12"], "does not say of which pool"),
        (["--page", "decode0/dp0:1", "--pool", "prefill0/dp0"], "names another pool"),
        (["--page", "decode0/dp0:1", "--request", "q1"], "not both"),
        (["--pool", "decode0/dp0"], "--pool goes with --page"),
        (["--page", "decode0/dp0:1", "--tables-only"], "leave --tables-only out"),
        (["--request", "q\udcff"], "has no request"),
        (["--request", "q" * 10_000], "(10,000 characters)"),
    ],
)
def test_bad_questions_are_one_sentence(words, complaint, dropped, explain):
    code, out, err = explain(dropped, *words)
    assert (code, out) == (2, "")
    assert complaint in err
    assert "Traceback" not in err
    assert len(err) < 1_000


def test_no_recording_is_one_sentence(tmp_path, explain):
    code, out, err = explain(tmp_path / "none")
    assert (code, out) == (2, "")
    assert "not a recording" in err


def test_without_its_trace_a_request_has_its_tables_and_a_page_nothing(dropped, explain):
    (dropped.parent / "trace.parquet").rename(dropped.parent / "elsewhere.parquet")
    code, out, _ = explain(dropped, "--request", "q1")
    told = " ".join(out.split())
    assert code == 0
    assert "States and pages are only as fine as the tables; to replay it: " in told
    assert "no such file); say where it is with --trace FILE." in told
    assert "(drop: rule 'lost')" in told
    code, out, err = explain(dropped, "--page", "decode0/dp0:1")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "its trace is not there any more" in err
    code, out, _ = explain(
        dropped, "--page", "decode0/dp0:1", "--trace", dropped.parent / "elsewhere.parquet"
    )
    assert code == 0
    assert "takes it" in out


def test_a_replay_that_differs_from_the_recording_is_not_believed(dropped, explain):
    path = dropped / "run.json"
    run = json.loads(path.read_text())
    run["options"]["seed"] = 99
    run["plan"]["rules"] = []
    path.write_text(json.dumps(run))
    code, _, err = explain(dropped, "--page", "decode0/dp0:1")
    assert code == 2
    assert "replays it differently (sha256" in err
    code, out, _ = explain(dropped, "--request", "q1")
    assert code == 0
    assert "replays it differently" in " ".join(out.split())


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "\x1b[2J\x1b]0;x\x07",
        "a\nb\r\tc",
        "q" * 10_000,
        "[bold]x",
        "é" * 50,
    ],
)
def test_hostile_ids_are_shown_as_text(hostile, tmp_path, explain):
    rule = FaultRule(hostile, "drop", request_ids=frozenset({hostile}))
    requests = [TraceRequest(hostile, 0, 100, 20)]
    recording = record(tmp_path, POST4, requests, rule).directory
    code, out, _ = explain(recording)
    assert code == 0
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out)
    assert max(map(len, out.splitlines())) <= 100
    assert len(out) < 20_000
    code, out, _ = explain(recording, "--request", hostile, "--json")
    assert code == 0
    assert json.loads(out)["subject"]["name"] == hostile
    page = json.loads(explain(recording, "--page", "decode0/dp0:1", "--json")[1])
    assert page["steps"][0]["request_id"] == hostile


def test_a_page_that_changed_hands_often_is_shown_in_part(tmp_path, explain):
    recording = record(tmp_path, POST4, every(100_000, 60), total_tokens=1_024).directory
    code, out, _ = explain(recording, "--page", "decode0/dp0:1", "--steps", "20")
    assert code == 0
    assert re.search(r"showing 20 of \d\d+ steps; --steps 0 shows all", out)
    assert "steps left out" in out
    whole = json.loads(explain(recording, "--page", "decode0/dp0:1", "--steps", "0", "--json")[1])
    part = json.loads(explain(recording, "--page", "decode0/dp0:1", "--steps", "20", "--json")[1])
    assert whole["steps_total"] == len(whole["steps"]) == part["steps_total"]
    assert len(part["steps"]) == 20
    assert all(step == whole["steps"][step["step"]] for step in part["steps"])


def test_help_has_an_example(explain):
    code, out, _ = explain("--help")
    assert code == 0
    assert "Example:\n    kvreplay explain" in out
