"""Numbers at the ends of what 32 and 64 bits hold, and none at all, in every option and file key.

Whatever they come to, it is no internal error, and what is refused is refused in one sentence.
"""

import dataclasses
import json
import zlib

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from input_helpers import sentences
from pydantic import BaseModel

from faults.plan import BurstEntry, LogNormalEntry, RuleEntry
from replay.cli import cli
from replay.profiles.profile import EngineProfile
from replay.run.matrix_file import Budget, Expect, Run
from traces.synthesis_options import SynthesisOptions

NUMBERS = (
    "2147483647", "2147483648", "1000000000000000", "4611686018427387904", "4611686018427387905",
    "9223372036854775807", "9223372036854775808", "-1", "nan", "inf", "1e308",
)  # fmt: skip
#: For each key; which of the others it gets as well depends on its name.
ALWAYS = ("4611686018427387905", "9223372036854775808", "nan")
OTHERS = [number for number in NUMBERS if number not in ALWAYS]

NUMBER_TYPES = (click.types.IntParamType, click.types.FloatParamType)

#: A command line of every verb that takes a number, to which one option is added.
LINES = {
    "run": "run t.parquet --profile sglang-0.4.6.post4",
    "reproduce": "reproduce --available 100 --total 128 --page-size 4 --out OUT",
    "shrink": "shrink lost -o OUT --max-replays 2",
    "hunt": "hunt -o OUT --max-replays 2 --seeds 1",
    "matrix run": "matrix run good.kvmatrix.toml --out OUT --jobs 1 --reports none",
    "explain": "explain lost --tables-only",
    "diagnose": "diagnose leak.log",
    "bench verdict": "bench verdict --cells 1 --cell 0",
    "trace synth": "trace synth -o OUT --requests 5",
    "trace import": "trace import log.csv -o OUT --map when=arrival_ms --map prompt=input_tokens "
    "--map answer=output_tokens",
    "trace slice": "trace slice t.parquet -o OUT",
    "trace anonymize": "trace anonymize t.parquet -o OUT --key-file secret.key",
}
#: Right, and so much work that nobody waits for it.
TOO_LONG = {("trace synth", "--requests", "2147483647")}

MATRIX = '[axes]\ntrace = ["{folder}/t.parquet"]\nprofile = ["hardened"]\n'


def numbers_for(key):
    at = zlib.crc32(key.encode())
    return [*ALWAYS, *(OTHERS[(at + step * 3) % len(OTHERS)] for step in range(2))]


def verbs(group=cli, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from verbs(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def numeric_options():
    for verb, command in verbs():
        for option in command.params:
            is_number = isinstance(option.type, NUMBER_TYPES)
            if is_number or option.type.name in ("P", "P:MS") or option.name == "speed":
                yield verb, option


def check(run_lines, lines):
    wrong = []
    for line, found in zip(lines, run_lines(lines), strict=True):
        said = sentences(found["err"])
        is_well = found["code"] in (0, 1, 3) or (found["code"] == 2 and len(said) == 1)
        if not is_well or "Traceback" in found["err"]:
            wrong.append((" ".join(line), found["code"], said))
    assert wrong == []


@pytest.mark.slow
def test_options(run_lines, tmp_path):
    lines = []
    for verb, option in numeric_options():
        assert verb in LINES, f"{verb} takes a number: give it a line here"
        for number in numbers_for(verb + option.opts[0]):
            values = [number]
            if option.type.name == "P:MS":
                values = [f"0.5:{number}", f"{number}:5"]
            for value in values:
                if (verb, option.opts[0], value) not in TOO_LONG:
                    out = tmp_path / f"out{len(lines)}"
                    words = LINES[verb].replace("OUT", str(out)).split()
                    lines.append([*words, f"{option.opts[-1]}={value}"])
    for number in NUMBERS:
        lines += [
            ["matrix", "list", "good.kvmatrix.toml", "--shard", f"1/{number}"],
            ["matrix", "list", "good.kvmatrix.toml", "--shard", f"{number}/3"],
            ["explain", "lost", "--page", f"decode0/dp0:{number}"],
        ]
        if int(number) > 2**16 if number.isdecimal() else True:
            words = f"good.kvmatrix.toml --out {tmp_path}/d --executor dask://127.0.0.1:{number}"
            lines.append(["matrix", "run", *words.split()])
    assert len(lines) > 200
    check(run_lines, lines)


@pytest.mark.slow
def test_profile_fields(run_lines):
    check(
        run_lines,
        [
            [
                "run",
                "t.parquet",
                "--profile",
                "sglang-0.4.6.post4",
                "--set",
                f"{field.name}={number}",
            ]
            for field in dataclasses.fields(EngineProfile)
            if "int" in str(field.type)
            for number in numbers_for(field.name)
        ],
    )


#: A rule with which each key goes, where it does not go with drop.
RULES = {
    "delay_us": 'fault = "delay"',
    "copies": 'fault = "duplicate"',
    "copy_delay_us": 'fault = "duplicate"\ncopies = 1000',
    "window_us": 'fault = "reorder"',
    "early_us": 'fault = "early"',
    "keep": 'fault = "partial"',
}
LISTS = ("occurrences", "dp_ranks", "prefill_tp_ranks", "decode_tp_ranks")


def numeric_keys(model: type[BaseModel]):
    return [
        name
        for name, field in model.model_fields.items()
        if "int" in str(field.annotation) or "float" in str(field.annotation)
    ]


def rules():
    """Rules with a number in one key each: the lines of `[[rule]]`, by the key's name."""
    for key in numeric_keys(RuleEntry):
        for number in numbers_for(key):
            value = f"[{number}]" if key in LISTS else number
            fault = RULES.get(key, 'fault = "drop"')
            yield f"{fault}\n{key} = {value}\n"
            if key in ("delay_us", "copy_delay_us"):
                yield f"{fault}\n{key} = {{ uniform = [0, {number}] }}\n"
    for model, table, given in (
        (BurstEntry, 'fault = "drop"\nburst', {"length_us": 5, "every_us": 10}),
        (LogNormalEntry, "", {"median_us": 5, "sigma": 1}),
    ):
        for key in numeric_keys(model):
            for number in numbers_for(key):
                pairs = ", ".join(f"{k} = {v}" for k, v in (given | {key: number}).items())
                yield (
                    f"{table} = {{ {pairs} }}\n"
                    if table
                    else (f'fault = "delay"\ndelay_us = {{ lognormal = {{ {pairs} }} }}\n')
                )


@pytest.mark.slow
def test_keys_of_plans(run_lines, tmp_path):
    lines = []
    for text in rules():
        plan = tmp_path / f"{len(lines)}.toml"
        plan.write_text(f"[[rule]]\n{text}")
        lines.append(["run", "t.parquet", "--profile", "hardened", "--plan", str(plan)])
    assert len(lines) > 100
    check(run_lines, lines)


@pytest.mark.slow
def test_keys_of_matrices(run_lines, inputs, tmp_path):
    texts = []
    axes = MATRIX.format(folder=inputs)
    for key in ("seed", "page_size", "total_tokens"):
        texts += [f"{axes}{key} = [{number}]\n" for number in NUMBERS]
    for table, model in (("run", Run), ("budget", Budget), ("[expect]", Expect)):
        for key in numeric_keys(model):
            texts += [f"{axes}[{table}]\n{key} = {number}\n" for number in numbers_for(key)]
    for field in dataclasses.fields(SynthesisOptions):
        if str(field.type) in ("int", "float"):
            made = '[axes]\nprofile = ["hardened"]\n[trace.made]\n'
            texts += [f"{made}{field.name} = {number}\n" for number in numbers_for(field.name)]
    texts += [f"swarm = {number}\n{axes}" for number in NUMBERS]
    lines = []
    for text in texts:
        file = tmp_path / f"{len(lines)}.kvmatrix.toml"
        file.write_text(text)
        lines.append(["matrix", "list", str(file)])
    check(run_lines, lines)


def with_column(path, name, values, made):
    table = pq.read_table(path).slice(0, len(values))
    place = table.schema.get_field_index(name)
    field = table.schema.field(place)
    table = table.set_column(place, field, pa.array(values, field.type))
    count = {b"kvreplay.request_count": str(len(values)).encode()}
    pq.write_table(table.replace_schema_metadata(table.schema.metadata | count), made)
    return str(made)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "values", "code"),
    [
        ("arrival_us", [0, 2**62], 0),
        ("arrival_us", [0, 2**62 + 1], 2),
        ("arrival_us", [0, 2**63 - 1], 2),
        ("cancel_us", [2**62, None], 0),
        ("cancel_us", [None, 2**62 + 1], 2),
        ("cancel_us", [None, 2**63 - 1], 2),
        ("input_tokens", [5, 2**31 - 1], 0),
        ("output_tokens", [5, 2**31 - 1], 0),
        ("priority", [127, -128], 0),
    ],
)
def test_columns_of_traces(run_lines, inputs, tmp_path, column, values, code):
    trace = inputs / "t.parquet"
    if column == "input_tokens":
        # Its hashes would not be as many.
        trace = with_column(trace, "block_hashes", [None, None], tmp_path / "plain.parquet")
    far = with_column(trace, column, values, tmp_path / "far.parquet")
    lines = [
        ["trace", "inspect", far],
        ["run", far, "--profile", "hardened"],
        ["trace", "slice", far, "-o", f"{tmp_path}/s"],
        ["trace", "anonymize", far, "-o", f"{tmp_path}/a", "--key-file", "secret.key"],
    ]
    for line, found in zip(lines, run_lines(lines), strict=True):
        assert found["code"] == code, (line, found["err"])
        if code == 2:
            [said] = sentences(found["err"])
            assert f"column {column} is {values[-1]} at row 1" in said
    others = [
        ["run", far, "--profile", "hardened", "--repeat", "3"],
        ["run", far, "--profile", "sglang-0.4.6.post4", "--drop", "1", "--heal-budget", "1e9"],
        ["run", far, "--profile", "sglang-0.4.6.post4", "--delay", "1:1e10"],
        ["trace", "inspect", far, "--against", str(trace)],
        ["trace", "synth", "-o", f"{tmp_path}/l", "--like", far],
        ["trace", "slice", far, "-o", f"{tmp_path}/x", "--speed", "0.001"],
        ["bench", "replay", far],
    ]
    check(run_lines, others)


@pytest.mark.slow
def test_a_replay_whose_times_add_up_to_too_much_is_refused(run_lines, inputs, tmp_path):
    far = with_column(inputs / "t.parquet", "arrival_us", [0, 2**62], tmp_path / "far.parquet")
    out = tmp_path / "out"
    line = ["run", far, "--profile", "hardened", "--repeat", "1", "--out", str(out)]
    [found] = run_lines([line])
    assert found["code"] == 2
    [said] = sentences(found["err"])
    assert "--repeat" in said and "a recording holds times up to" in said
    assert not out.exists() and not list(tmp_path.glob(".kvreplay*"))


STATUS = """\
{stamp}token_to_kv_pool_allocator memory leak detected! available_size={n}, protected_size=0, \
self.max_total_num_tokens=13858304
{stamp}pool memory leak detected! [full] total={n}, available={n}, evictable=0, protected={n}, \
session_held=0, uncached=0
{stamp}Decode batch. #running-req: {n}, #token: {n}, token usage: {n}, #queue-req: {n}
Engine {n}: Avg prompt throughput: {n} tokens/s, Running: {n} reqs, Waiting: {n} reqs, GPU KV cache \
usage: {n}%, Prefix cache hit rate: {n}%
"""
METRICS = 'sglang:token_usage{{tp_rank="{n}"}} {n} {n}\nsglang:num_used_tokens {n} {n}\n'


@pytest.mark.slow
def test_logs_and_metrics(run_lines, tmp_path):
    stamps = ["", "[{n}-01-01 00:00:00] ", "{n} "]
    stamps += ["[0000-01-01 00:00:00] ", "[292277-01-01 00:00:00] ", "[9999-12-31T23:59:60+99:99] "]
    lines = []
    for number in NUMBERS:
        for stamp in stamps:
            log = tmp_path / f"{len(lines)}.log"
            log.write_text(STATUS.format(n=number, stamp=stamp.format(n=number)))
            lines.append(["diagnose", str(log)])
        scrape, answer = tmp_path / f"{number}.prom", tmp_path / f"{number}.json"
        scrape.write_text(METRICS.format(n=number))
        series = {
            "metric": {"__name__": "sglang:num_used_tokens"},
            "values": [[float(number), number]],
        }
        answer.write_text(json.dumps({"data": {"result": [series]}}))
        lines += [["diagnose", "--prometheus", str(path)] for path in (scrape, answer)]
    check(run_lines, lines)
