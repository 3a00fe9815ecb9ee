"""`kvreplay faults`: the catalogue for people and programs; `--plan builtin:NAME` of `run`."""

import json
import re
import shlex

import pytest

from faults.catalogue import builtin_names, builtin_plan
from faults.kinds.registry import KINDS
from faults.plan import parse_plan
from faults.rule import CONDITION_MEANINGS


def test_the_catalogue_names_everything(kvreplay):
    code, out, _ = kvreplay("faults")
    assert code == 0
    words = set(re.findall(r"[a-z_-]+", out))
    assert {*KINDS, *CONDITION_MEANINGS, *builtin_names(), "burst", "in-flight"} <= words
    assert max(len(line) for line in out.splitlines()) <= 100
    for example in (kind.example for kind in KINDS.values()):
        assert example.text.splitlines()[-1] in out


@pytest.mark.parametrize("name", KINDS)
def test_a_fault_is_shown_whole(kvreplay, name):
    code, out, _ = kvreplay("faults", name)
    assert code == 0
    assert KINDS[name].meaning.split()[0] in out
    shown = out[out.index("[[rule]]") : out.index("Built-in plans with it")]
    assert parse_plan(shown, "shown").rules == parse_plan(KINDS[name].example.text, "own").rules
    assert any(plan in out for plan in builtin_names())


def test_the_keys_of_a_fault_and_no_others_are_shown(kvreplay):
    _, out, _ = kvreplay("faults", "abort")
    assert "required" in " ".join(out.split())
    assert "prefill_tp_ranks" not in out, "an abort is no event between TP ranks"
    assert "copies" not in out


@pytest.mark.parametrize("name", [*builtin_names(), "builtin:rank-outage"])
def test_a_built_in_plan_is_shown_with_the_command_that_it_needs(kvreplay, make_trace, name):
    code, out, _ = kvreplay("faults", name)
    plan = builtin_plan(name.removeprefix("builtin:"))
    assert code == 0
    for text in (plan.text, *plan.facts.reports, *plan.facts.needs, plan.facts.mode):
        assert text in out
    (line,) = re.findall(r"kvreplay (run .*)", out)
    words = shlex.split(line)
    assert words[words.index("--plan") + 1] == f"builtin:{plan.name}"


def test_the_shown_command_runs_and_repeats_itself(kvreplay, make_trace):
    _, out, _ = kvreplay("faults", "lost-completion")
    (line,) = re.findall(r"kvreplay (run .*)", out)
    trace = make_trace(requests=200)
    words = shlex.split(line.replace("TRACE", str(trace)))
    code, out, _ = kvreplay(*words, "--json")
    summary = json.loads(out)
    assert (code, summary["verdict"]) == (0, "persistent")
    assert "--plan builtin:lost-completion" in summary["reproduce"]
    repeated = kvreplay(*shlex.split(summary["reproduce"])[1:], "--json")
    again = json.loads(repeated[1])
    del summary["timing"], again["timing"]
    assert again == summary


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["faults", "dropp"], "did you mean drop?"),
        (["faults", "lost-acknowledgment"], "did you mean lost-acknowledgement?"),
        (["faults", "builtin:drop"], "no built-in plan of that name"),
        (["faults", "zzz", "--json"], "there are drop, delay"),
        (["faults", "drop", "--schema"], "leave NAME out"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(kvreplay, words, hint):
    code, out, err = kvreplay(*words)
    assert (code, out) == (2, "")
    assert hint in err
    assert "Traceback" not in err


def test_run_answers_an_unknown_plan_before_it_reads_the_trace_s_rows(
    kvreplay, make_trace, tmp_path
):
    out_directory = tmp_path / "recording"
    words = ("--profile", "hardened", "--plan", "builtin:lost-acknowledgment")
    code, out, err = kvreplay("run", make_trace(), *words, "--out", out_directory)
    assert (code, out) == (2, "")
    assert "did you mean lost-acknowledgement?" in err
    assert not out_directory.exists()


def test_json_has_the_whole_catalogue(kvreplay):
    code, out, _ = kvreplay("faults", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["schema"] == "kvreplay.faults/1"
    assert list(document["faults"]) == list(KINDS)
    assert list(document["plans"]) == builtin_names()
    assert document["faults"]["delay"]["keys"].keys() == {"delay_us", "until"}
    assert "states" not in document["faults"]["timeout"]["triggers"]
    plan = document["plans"]["abort-after-landing"]
    assert plan["verdict"] == "persistent"
    assert plan["command"][:3] == ["kvreplay", "run", "TRACE"]
    assert parse_plan(plan["text"], "text").rules


def test_json_of_one_is_that_one(kvreplay):
    _, out, _ = kvreplay("faults", "drop", "--json")
    assert list(json.loads(out)["faults"]) == ["drop"]
    _, out, _ = kvreplay("faults", "builtin:wrong-room", "--json")
    assert list(json.loads(out)["plans"]) == ["wrong-room"]


def test_the_schema_is_printed(kvreplay):
    from faults.plan_schema import plan_schema

    _, out, _ = kvreplay("faults", "--schema")
    assert json.loads(out) == plan_schema()
