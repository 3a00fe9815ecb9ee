"""Which cells a file has, what they are called, and which shard has them."""

import itertools
import shlex
from pathlib import Path

import pytest
from matrix_helpers import SMALL

from replay.matrix.expectations import Expectation, judge_cell
from replay.matrix.jobs import CellJob
from replay.matrix.matrix import cells_of, matrix_of
from replay.run.matrix_file import parse_matrix


def matrix(text, path="dir/m.kvmatrix.toml"):
    return matrix_of(parse_matrix(text, Path(path)), find_inputs=False)


def names(text):
    return [cell.name for cell in matrix(text).cells]


def test_cells_are_the_combinations_in_the_order_of_the_file():
    cells = matrix(SMALL).cells
    assert [cell.number for cell in cells] == list(range(1, 9))
    assert cells[0].name == (
        "trace=tiny profile=hardened topology=tp2:tp2dp2 total_tokens=65536 plan=none seed=0"
    )
    expected = itertools.product(["hardened", "sglang-0.4.6.post4"], ["none", "lossy"], ["0", "1"])
    found = [(cell.axes["profile"], cell.axes["plan"], cell.axes["seed"]) for cell in cells]
    assert found == list(expected)
    assert len({cell.slug for cell in cells}) == 8


def test_a_cell_is_a_line_of_kvreplay_run():
    line = matrix(SMALL).cells[-1].options.command_line()
    assert shlex.split(line) == [
        "kvreplay",
        "run",
        "dir/m.kvmatrix.toml#tiny",
        "--profile",
        "sglang-0.4.6.post4",
        "--set",
        "total_tokens=65536",
        "--set",
        "prefill_tp=2",
        "--set",
        "prefill_dp=1",
        "--set",
        "decode_tp=2",
        "--set",
        "decode_dp=2",
        "--plan",
        "dir/m.kvmatrix.toml#lossy",
        "--seed",
        "1",
    ]


def test_paths_are_from_the_folder_of_the_file_and_builtin_plans_are_left_alone():
    text = SMALL.replace('"lossy"]', '"../p/x.toml", "builtin:late"]').replace(
        "[axes]", '[axes]\ntrace = ["t.parquet"]'
    )
    cells = matrix(text.partition("[[expect]]")[0]).cells
    assert {cell.options.trace for cell in cells} == {"dir/t.parquet"}
    assert {cell.options.plan for cell in cells} == {None, "p/x.toml", "builtin:late"}


def test_excludes_take_cells_out_and_includes_put_cells_in():
    edits = """
    [[exclude]]
    profile = "sglang*"
    plan = ["none", "nothing"]
    [[include]]
    seed = 7
    page_size = 16
    """
    found = names(SMALL.replace("[[expect]]", edits + "[[expect]]", 1))
    assert len(found) == 7
    assert not any("sglang" in name and "plan=none" in name for name in found)
    assert found[-1] == (
        "trace=tiny profile=hardened topology=tp2:tp2dp2 page_size=16 total_tokens=65536 "
        "plan=none seed=7"
    )


def test_an_axis_that_the_file_does_not_give_is_in_no_name():
    text = 'axes.profile = ["hardened"]\n[trace.a]\n'
    assert names(text) == ["trace=a profile=hardened"]


def test_swarm_cells_come_for_every_combination_but_topology_and_plan():
    found = [each for each in matrix("swarm = 3\n" + SMALL).cells if each.options.swarm]
    assert [each.name for each in found[:3]] == [
        f"trace=tiny profile=hardened total_tokens=65536 swarm seed={seed}" for seed in range(3)
    ]
    assert len(found) == 2 * 3
    assert all("--swarm" in each.options.command_line() for each in found)
    assert {each.options.plan for each in found} == {None}


def test_defects_match_each_alone_or_all_as_written():
    text = """
    [axes]
    profile = ["hardened"]
    defects = [[], ["idle-check-ungated", "ranks-poll-alone"]]
    [trace.a]
    [[expect]]
    verdict = "clean"
    [[expect]]
    cells.defects = "ranks-*"
    verdict = "persistent"
    """
    both = matrix(text)
    assert [each.verdicts for each in both.expectations.values()] == [("clean",), ("persistent",)]


def test_the_last_expectation_that_matches_holds_whole():
    text = SMALL.replace("[[expect]]\nverdict", "[[expect]]\nmax_gap_tokens = 5\nverdict", 1)
    last = list(matrix(text).expectations.values())[-1]
    assert (last.verdicts, last.kinds, last.max_gap_tokens) == (("persistent",), ("stuck",), None)


def test_no_file_looks_like_an_option_on_the_line_that_reproduces_a_cell():
    text = """
    [axes]
    profile = ["hardened"]
    trace = ["-t.parquet", "made"]
    plan = ["-p.toml"]
    [trace.made]
    """
    source = parse_matrix(text, Path("-m.kvmatrix.toml"))
    lines = [cell.options.command_line() for cell in matrix_of(source, find_inputs=False).cells]
    words = [shlex.split(line) for line in lines]
    assert [each[2] for each in words] == ["./-t.parquet", "./-m.kvmatrix.toml#made"]
    assert words[0][words[0].index("--plan") + 1] == "./-p.toml"


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_cell_is_in_exactly_one_shard(count):
    whole = matrix(SMALL)
    shards = [cells_of(whole, (index, count)) for index in range(1, count + 1)]
    found = sorted((cell for shard in shards for cell in shard), key=lambda cell: cell.number)
    assert found == list(whole.cells)


def test_a_shard_does_not_depend_on_the_other_cells():
    fewer = SMALL.replace('"hardened", ', "")
    in_both = {cell.name for cell in matrix(fewer).cells}
    shard = {cell.name for cell in cells_of(matrix(SMALL), (1, 2))}
    assert shard & in_both == {cell.name for cell in cells_of(matrix(fewer), (1, 2))}


def document(**facts):
    usual = {
        "verdict": "clean",
        "why": "because",
        "growth": None,
        "kinds": {},
        "gap_tokens_max": 0,
        "heal_us_max": None,
        "episodes_open": 0,
        "rules_never_fired": [],
        "rules_without_effect": [],
    }
    return {"state": "finished", "error": None, "facts": usual | facts}


TRANSIENT = {
    "verdict": "transient",
    "kinds": {"held": 2},
    "gap_tokens_max": 128,
    "heal_us_max": 500,
}


@pytest.mark.parametrize(
    ("facts", "expected", "outcome", "words"),
    [
        ({}, {}, "passed", "clean, as expected"),
        (TRANSIENT, {}, "passed", ""),
        ({"verdict": "persistent"}, {}, "failed", "persistent where clean or transient"),
        ({"verdict": "inconclusive"}, {}, "inconclusive", "inconclusive where clean"),
        ({"verdict": "inconclusive"}, {"verdicts": ("inconclusive",)}, "passed", ""),
        (TRANSIENT, {"kinds": ("held", "stuck")}, "passed", ""),
        (TRANSIENT, {"kinds": ("stuck",)}, "failed", "kind held where only stuck"),
        ({}, {"kinds": ("stuck",)}, "passed", ""),
        ({"verdict": "transient"}, {"kinds": ("stuck",)}, "failed", "no page of any kind"),
        (TRANSIENT, {"max_gap_tokens": 128}, "passed", ""),
        (TRANSIENT, {"max_gap_tokens": 127}, "failed", "a gap of 128 tokens where at most 127"),
        (TRANSIENT, {"max_heal_us": 500}, "passed", ""),
        (TRANSIENT, {"max_heal_us": 499}, "failed", "open for 500 us where at most 499"),
        (TRANSIENT | {"episodes_open": 1}, {"max_heal_us": 10**9}, "failed", "never closed"),
        (TRANSIENT | {"growth": "growing"}, {"growth": ("one-off",)}, "failed", "growth growing"),
        (TRANSIENT | {"growth": "one-off"}, {"growth": ("one-off",)}, "passed", ""),
        (TRANSIENT | {"rules_never_fired": ["x"]}, {}, "inconclusive", "rule 'x' never fired"),
        (
            {"rules_without_effect": ["x", "y"]},
            {},
            "inconclusive",
            "rules 'x', 'y' changed nothing",
        ),
        ({"verdict": "persistent", "rules_never_fired": ["x"]}, {}, "failed", "persistent where"),
        (
            {"verdict": "inconclusive", "rules_never_fired": ["x"]},
            {"verdicts": ("inconclusive",)},
            "inconclusive",
            "never fired",
        ),
    ],
)
def test_how_an_outcome_follows(facts, expected, outcome, words):
    judgement = judge_cell(document(**facts), Expectation(**expected))
    assert judgement.outcome == outcome
    assert words in judgement.because


@pytest.mark.parametrize("state", ["timed-out", "out-of-memory", "crashed"])
def test_a_cell_without_a_verdict_is_what_it_ended_as(state):
    judgement = judge_cell({"state": state, "error": "why", "facts": None}, Expectation())
    assert (judgement.outcome, judgement.because) == (state, "why")


def test_a_job_is_the_same_after_a_trip_through_json():
    import json

    options = matrix(SMALL).cells[-1].options
    job = CellJob(
        name="n",
        slug="s",
        options=options,
        expectation=Expectation(kinds=("stuck",), line=3),
        plan=("text", "source"),
        trace_path="t",
        trace_sha256="0",
        trace_options=None,
        fingerprint="f",
        device="cpu",
        reports="all",
        keep="none",
        cells="c",
    )
    assert CellJob.from_message(json.loads(json.dumps(job.to_message()))) == job
