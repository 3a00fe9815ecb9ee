"""What is no probability is refused in the same words wherever it stands."""

import pytest
from input_helpers import sentences

from faults.chance import PROBABILITY_WORDS
from replay.cli import run_command_line

NONE = ("nan", "inf", "-inf", "-0.1", "1.1", "2")
NO_NUMBERS = ("0.5x", "", "half")


@pytest.fixture
def said(capsys):
    """The one sentence with which a command line is refused."""

    def run(*words):
        capsys.readouterr()
        assert run_command_line([str(word) for word in words]) == 2, words
        [sentence] = sentences(capsys.readouterr().err)
        return sentence

    return run


@pytest.mark.parametrize("value", [*NONE, *NO_NUMBERS])
def test_options(said, inputs, tmp_path, value):
    trace, out = inputs / "t.parquet", tmp_path / "out"
    run = ("run", trace, "--profile", "hardened")
    for words in (
        (*run, f"--drop={value}"),
        (*run, f"--duplicate={value}"),
        (*run, f"--delay={value}:5"),
        ("trace", "slice", trace, "-o", out, f"--sample={value}"),
        ("trace", "synth", "-o", out, f"--abort-rate={value}"),
    ):
        sentence = said(*words)
        option = words[-1].partition("=")[0]
        assert f"'{option}': {value!r}: {PROBABILITY_WORDS}" in sentence


@pytest.mark.parametrize("value", [*NONE, *(f'"{each}"' for each in NO_NUMBERS), "true", "[]"])
def test_keys(said, inputs, tmp_path, value):
    plan, matrix = tmp_path / "p.toml", tmp_path / "m.toml"
    rule = '[[rule]]\nfault = "drop"\n'
    burst = "burst = { length_us = 1, every_us = 2, "
    for text in (f"probability = {value}", f"{burst}probability = {value} }}"):
        plan.write_text(f"{rule}{text}\n")
        sentence = said("run", inputs / "t.parquet", "--profile", "hardened", "--plan", plan)
        assert f"{plan}:3: rule[1]." in sentence and PROBABILITY_WORDS in sentence
    matrix.write_text(
        f'[axes]\nprofile = ["hardened"]\n[trace.x]\n{rule.replace("rule", "plan.x.rule")}'
        f"probability = {value}\n"
    )
    sentence = said("matrix", "list", matrix)
    assert f"{matrix}:6: plan.x.rule[1].probability: " in sentence and PROBABILITY_WORDS in sentence
    if value in NONE:
        for key in ("abort_rate", "long_share"):
            number = f"{value}.0" if value == "2" else value
            matrix.write_text(f'[axes]\nprofile = ["hardened"]\n[trace.x]\n{key} = {number}\n')
            sentence = said("matrix", "list", matrix)
            assert f"{matrix}:4: " in sentence and PROBABILITY_WORDS in sentence
