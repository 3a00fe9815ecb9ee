"""What is wrong in a matrix file is said with its line, its key and what would be right."""

import pytest
from matrix_helpers import SMALL

BAD = {
    "unknown key": (
        "seed = [0, 1]\n",
        "sede = [0, 1]\n",
        8,
        "axes.sede: no such key; did you mean seed?",
    ),
    "unknown table": (
        "[trace.tiny]",
        "[tracer.tiny]",
        10,
        "tracer: no such key; did you mean trace?",
    ),
    "a single value": ("seed = [0, 1]", "seed = 3", 8, "axes.seed: 3: "),
    "an empty axis": ("seed = [0, 1]", "seed = []", 8, "axes.seed: []: "),
    "no profile": ('profile = ["hardened", "sglang-0.4.6.post4"]', "", 3, "axes.profile: missing"),
    "a profile nobody knows": (
        '"sglang-0.4.6.post4"]',
        '"sglang-0.4.6.post7"]',
        4,
        "profile: sglang-0.4.6.post7 is no engine profile; did you mean sglang-0.4.6.post",
    ),
    "a topology that is none": ("tp2:tp2dp2", "tp2-tp2dp2", 5, "expected PREFILL:DECODE"),
    "a topology that does not divide": ("tp2:tp2dp2", "tp2:tp2dp3", 5, "topology: "),
    "a pool of broken pages": ("[65536]", "[65537]", 6, "not whole pages"),
    "a plan nobody knows": (
        '"lossy"]\n',
        '"losy"]\n',
        7,
        "plan: losy is neither none, a [plan.NAME] of this file, builtin:NAME nor a plan file; did you mean lossy?",
    ),
    "a value twice": ("seed = [0, 1]", "seed = [0,\n 0]", 9, "axes.seed: 0 is there twice"),
    "a fault nobody knows": ('fault = "drop"', 'fault = "drip"', 21, "did you mean drop?"),
    "a key of another fault": (
        "probability = 0.2",
        "delay_us = 5",
        22,
        "plan.lossy.rule[1].delay_us: only delay",
    ),
    "an unknown key of a trace": (
        "rate_per_s = 8",
        "rate = 8",
        12,
        "trace.tiny.rate: no such key; did you mean rate_per_s?",
    ),
    "a trace that cannot be made": ("requests = 30", "requests = 0", 11, "requests is 0"),
    "an unknown verdict": (
        'verdict = "persistent"',
        'verdict = "persistant"',
        29,
        "did you mean persistent?",
    ),
    "an expectation of nothing": (
        '"sglang-*", plan',
        '"sgland-*", plan',
        27,
        "expect[2] matches no cell",
    ),
    "an unknown axis": (
        'cells = { profile = "sglang-*",',
        'cells = { profil = "sglang-*",',
        28,
        "expect[2].cells.profil: no such key; did you mean profile?",
    ),
    "an unknown settings table": (
        "seed = [0, 1]\n",
        'seed = [0, 1]\nsettings = ["tight"]\n[settings.tigt]\nmax_running_requests = 1\n',
        9,
        "no table [settings.tight]; did you mean tigt?",
    ),
    "a field nobody knows": (
        "seed = [0, 1]\n",
        'seed = [0, 1]\nsettings = ["tight"]\n[settings.tight]\nmax_runing_requests = 1\n',
        11,
        "did you mean max_running_requests?",
    ),
    "a field with a wrong value": (
        "seed = [0, 1]\n",
        'seed = [0, 1]\nsettings = [\n { max_running_requests = "few" }]\n',
        10,
        "max_running_requests: 'few' is not a whole number",
    ),
    "a field with a wrong value that might be an axis": (
        "seed = [0, 1]\n",
        'seed = [0, 1]\nsettings = ["odd"]\n[settings.odd]\npage_size = "abc"\n',
        11,
        "settings: page_size: 'abc' is not a whole number",
    ),
    "an axis that is no field": (
        "seed = [0, 1]\n",
        'seed = [0, 1]\nsettings = ["odd"]\n[settings.odd]\nswarm = true\n',
        11,
        "settings: swarm: no profile field of that name",
    ),
    "a field that is no word": (
        "seed = [0, 1]\n",
        'seed = [0, 1]\nsettings = ["odd"]\n[settings.odd]\n"page_size: 1" = 1\n',
        9,
        "settings: page_size: 1: no profile field of that name",
    ),
    "a pool of settings that is no whole pages": (
        "total_tokens = [65536]\n",
        "settings = [{ page_size = 64, total_tokens = 7 }]\n",
        6,
        "settings: profile field total_tokens is 7, which is not whole pages of 64 tokens",
    ),
    "a field that is an axis too": (
        "seed = [0, 1]\n",
        "seed = [0, 1]\nsettings = [\n { total_tokens = 32768 }]\n",
        10,
        "settings: total_tokens=32768 sets total_tokens, and so does the axis total_tokens",
    ),
    "a field of the topology": (
        "seed = [0, 1]\n",
        'seed = [0, 1]\nsettings = ["wide"]\n[settings.wide]\ndecode_tp = 4\n',
        9,
        "settings: wide sets decode_tp, and so does the axis topology",
    ),
    "a defect nobody knows": (
        "seed = [0, 1]\n",
        'seed = [0, 1]\ndefects = [[],\n ["idle-check-ungate"]]\n',
        10,
        "did you mean idle-check-ungated?",
    ),
    "a trace nobody has": (
        "seed = [0, 1]\n",
        'seed = [0, 1]\ntrace = ["tniy"]\n',
        9,
        "tniy is neither a [trace.NAME] of this file nor a trace file; did you mean tiny?",
    ),
    "an include that is there": (
        "[[expect]]\nverdict",
        '[[include]]\nprofile = "hardened"\n[[expect]]\nverdict',
        24,
        "this is the same cell as one of line 3",
    ),
    "everything excluded": (
        "[[expect]]\nverdict",
        "[[exclude]]\nseed = [0, 1]\n[[expect]]\nverdict",
        24,
        "no cell is left",
    ),
    "a name that is none": ("[plan.lossy]\n", '["plan"."a#b"]\n', 17, "plan.a#b: not a name"),
    "a kind nobody knows": ('kinds = "stuck"', 'kinds = "stcuk"', 30, "did you mean stuck?"),
    "growth without clean cycles": (
        'kinds = "stuck"',
        'growth = "growing"',
        30,
        "expect[2].growth: growth shows after 3 clean cycles, and run.repeat is 0",
    ),
    "growth of what is gone": (
        '[[expect]]\nverdict = ["clean", "transient"]\n',
        '[run]\nrepeat = 3\n[[expect]]\ngrowth = "one-off"\n',
        27,
        "expect[1].growth: only what stays can grow",
    ),
    "healing of what never heals": (
        'kinds = "stuck"',
        "max_heal_us = 5",
        30,
        "expect[2].max_heal_us: what is persistent never heals",
    ),
    "too many cells": (
        "seed = [0, 1]\n",
        f"seed = [0, 1]\npage_size = {list(range(1, 20001))}\n",
        3,
        "a matrix has at most 100000",
    ),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("verb", ["list", "run"])
def test_a_mistake_is_named_with_its_line_before_anything_runs(
    matrix_file, kvreplay, tmp_path, case, verb
):
    good, bad, line, words = BAD[case]
    assert good in SMALL
    name = matrix_file(SMALL.replace(good, bad, 1))
    out = ["--out", "M"] if verb == "run" else []
    code, _, err = kvreplay("matrix", verb, name, *out)
    told = [each for each in err.splitlines() if "warning" not in each]
    assert code == 2, err
    assert len(told) == 1, err
    assert told[0].startswith(f"kvreplay: {name}:{line}: "), err
    assert words in told[0]
    assert not list((tmp_path / "M" / "cells").glob("*"))


@pytest.mark.parametrize(
    ("added", "line", "words"),
    [
        ('[[exclude]]\nplan = "looossy"\n', 24, "exclude[1] removes no cell"),
        ('[[expect]]\ncells = { seed = 1 }\nverdict = "clean"\n', 24, "expect[1] says nothing"),
    ],
)
def test_what_has_no_effect_is_a_warning_with_its_line(matrix_file, kvreplay, added, line, words):
    name = matrix_file(SMALL.replace("[[expect]]", added + "[[expect]]", 1))
    code, out, err = kvreplay("matrix", "list", name)
    assert code == 0
    assert out.endswith("8 cells\n")
    assert f"warning: {name}:{line}: {words}" in err


def test_cells_without_an_expectation_are_counted(matrix_file, kvreplay):
    text = SMALL.replace('[[expect]]\nverdict = ["clean", "transient"]\n', "")
    name = matrix_file(text)
    _, out, err = kvreplay("matrix", "list", name)
    assert f"{name}:3: 6 of 8 cells match no [[expect]], such as trace=tiny profile=hard" in err
    assert out.count("(by default)") == 6


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "not a text file"),
        (b"axes = [", "not valid TOML"),
        (None, "cannot read the matrix: No such file"),
    ],
)
def test_what_is_no_matrix_file_is_said_in_one_line(tmp_path, kvreplay, content, words):
    path = tmp_path / "x.kvmatrix.toml"
    if content is not None:
        path.write_bytes(content)
    code, _, err = kvreplay("matrix", "list", path)
    assert (code, err.count("\n")) == (2, 1)
    assert words in err


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "1/99999999"])
def test_a_shard_that_is_none_is_refused(matrix_file, kvreplay, shard):
    code, _, err = kvreplay("matrix", "list", matrix_file(), "--shard", shard)
    assert code == 2
    assert f"--shard {shard}: " in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--plan", "{file}#lossi"), "no table [plan.lossi]; did you mean lossy?"),
        (("--plan", "gone.toml#lossy"), "gone.toml: cannot read the matrix"),
    ],
)
def test_run_names_tables_of_a_matrix_file(matrix_file, kvreplay, words, told):
    name = matrix_file()
    words = [word.format(file=name) for word in words]
    code, _, err = kvreplay("run", f"{name}#tiny", "--profile", "hardened", *words)
    assert code == 2
    assert told in err
    code, _, err = kvreplay("run", f"{name}#tny", "--profile", "hardened")
    assert code == 2
    assert "no table [trace.tny]; did you mean tiny?" in err
