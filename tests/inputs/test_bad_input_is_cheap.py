"""Bad input is answered at once: what takes long to load is not loaded to find it out."""

import json
import os
import subprocess
import sys

import pytest
from input_helpers import ROOT, sentences

RUN = "run t.parquet --profile hardened"
REPRODUCE = "reproduce --available 100 --total 128 --page-size 4"

#: Wrong without a look into a Parquet file: not even pyarrow is needed.
OPTIONS = [
    *(f"{verb} --nonsense" for verb in (
        "run", "reproduce", "shrink", "hunt", "diagnose", "explain", "report", "profiles", "doctor",
        "faults", "demo", "trace synth", "trace import", "trace inspect", "trace slice",
        "trace anonymize", "matrix run", "matrix list", "matrix merge", "bench allocator",
        "bench replay", "bench verdict",
    )),
    "nonsense", "trace nonsense", "matrix nonsense", "bench nonsense",
    "run", "run t.parquet", "run t.parquet --profile hardend",
    f"{RUN} --drop 2", f"{RUN} --drop nan", f"{RUN} --drop 0.5x", f"{RUN} --delay 0.1",
    f"{RUN} --delay nan:5", f"{RUN} --delay 0.1:1e308", f"{RUN} --duplicate -1",
    f"{RUN} --set page_sise=16", f"{RUN} --set page_size", f"{RUN} --set page_size=0",
    f"{RUN} --set transfer_us=9223372036854775807", f"{RUN} --set total_tokens=9223372036854775808",
    f"{RUN} --defect nonsense", f"{RUN} --plan none.toml", f"{RUN} --plan bad.toml",
    f"{RUN} --plan builtin:none", f"{RUN} --plan good.kvmatrix.toml#none", f"{RUN} --seed -1",
    f"{RUN} --repeat 1001", f"{RUN} --heal-budget nan", f"{RUN} --device gpu",
    f"{RUN} --expect maybe", f"{RUN} --suppressions none.toml", f"{RUN} --suppressions accepted.toml",
    f"{RUN} --today x",
    "reproduce --available 100 --total 100", "reproduce --available 100 --total 101",
    f"reproduce --available 1 --total {10**22}", f"{REPRODUCE} --profile none",
    f"{REPRODUCE} --set page_size=4", f"{REPRODUCE} --set none=4", f"{REPRODUCE} --defect none",
    "shrink none --budget-s nan", "shrink none --max-replays 0",
    "hunt", "hunt -o x --profile none", "hunt -o x --defect none", "hunt -o x --seeds 0",
    "hunt -o x --profile vllm-0.33 --defect peer-is-never-told", "hunt -o x --budget-s nan",
    "matrix run none.toml", "matrix run bad.kvmatrix.toml", "matrix run no-profile.kvmatrix.toml",
    "matrix run no-trace.kvmatrix.toml", "matrix run good.kvmatrix.toml --shard 3/2",
    "matrix run good.kvmatrix.toml --jobs 0", "matrix run good.kvmatrix.toml --executor none",
    "matrix run good.kvmatrix.toml --executor dask://127.0.0.1:99999",
    "matrix run good.kvmatrix.toml --resume --restart", "matrix run good.kvmatrix.toml --retry",
    "matrix list none.toml", "matrix list bad.kvmatrix.toml", "matrix list good.kvmatrix.toml --shard x",
    "matrix merge lost --out lost",
    "explain lost --request a --page b", "explain lost --pool x", "explain lost --steps -1",
    "report", "report lost --today x",
    "diagnose", "diagnose none.log", "diagnose .", "diagnose - -", "diagnose leak.log none.log",
    "diagnose --follow none.log", "diagnose --follow leak.log leak.log", "diagnose --prometheus none",
    "diagnose leak.log --prometheus .", "diagnose leak.log --poll-s nan",
    "bench allocator --device x", "bench replay t.parquet --profile none", "bench verdict --cells 0",
    "bench verdict --keep x",
    "doctor --profile none", "doctor --set x", "doctor --set none=1", "doctor --set page_size=0",
    "profiles none", "faults none", "faults none --schema", "demo --out leak.log", "demo --out lost",
    "trace synth -o x --requests 0", "trace synth -o x --rate nan", "trace synth -o x --abort-rate 2",
    "trace import log.csv -o x --map a", "trace import log.csv -o x --format none",
    "trace slice t.parquet -o x --from nan", "trace slice t.parquet -o x --from 5 --until 4",
    "trace slice t.parquet -o x --sample 2", "trace slice t.parquet -o x --speed 0",
    "trace slice t.parquet -o x --head 0", "trace anonymize t.parquet -o x --quantise-ms 0",
]  # fmt: skip

#: Wrong in a Parquet file, a recording or a log.
FILES = [
    "run none.parquet --profile hardened", "run text.parquet --profile hardened",
    "run . --profile hardened", "run /dev/null --profile hardened",
    "run good.kvmatrix.toml#none --profile hardened",
    f"{RUN} --out leak.log", f"{RUN} --out .", f"{RUN} --engine-log none/x",
    f"{REPRODUCE} --trace none.parquet", f"{REPRODUCE} --trace text.parquet",
    "shrink none", "shrink damaged", "shrink t.parquet", "shrink clean",
    "shrink lost --trace none.parquet", "shrink lost --trace text.parquet",
    "matrix run no-parquet.kvmatrix.toml", "matrix run two-traces.kvmatrix.toml",
    "matrix run no-plan.kvmatrix.toml", "matrix list no-parquet.kvmatrix.toml",
    "matrix run good.kvmatrix.toml --out leak.log", "matrix run good.kvmatrix.toml --out lost",
    "matrix merge none --out x", "matrix merge lost --out x", "matrix merge t.parquet --out x",
    "explain none", "explain damaged", "explain lost --request none", "explain lost --page x",
    "explain lost --page decode0/dp0:999999999999", "explain lost --page 5 --pool none",
    "explain lost --trace none.parquet", "explain lost --trace text.parquet",
    "report none", "report damaged", "report lost lost", "report lost none", "report t.parquet",
    "report lost -o x.txt", "report lost -o x.html -o x.html", "report lost --perfetto x.txt",
    "report lost clean --perfetto x.json", "report lost --suppressions accepted.toml",
    "bench replay none.parquet", "bench replay text.parquet",
    "trace synth -o . --requests 5", "trace synth -o x --like none.parquet",
    "trace synth -o x --like text.parquet", "trace synth -o x --like t.parquet --seed -1",
    "trace import none -o x", "trace import text.parquet -o x", "trace import log.csv -o log.csv",
    "trace import log.csv -o x --map when=none", "trace inspect none", "trace inspect text.parquet",
    "trace inspect t.parquet --against none", "trace slice none -o x", "trace slice t.parquet -o t.parquet",
    "trace anonymize none -o x", "trace anonymize t.parquet -o x --key-file none",
    "trace anonymize t.parquet -o t.parquet --key-file secret.key",
]  # fmt: skip


#: Loaded once, before each line gets a process of its own; what is heavy is seen there all the same.
LIGHT = ["numpy", "pydantic", "faults.plan", "replay.commands.matrix.list_cells"]
PARQUET = ["pyarrow.parquet", "traces.dataset"]


@pytest.mark.slow
@pytest.mark.parametrize(("lines", "allowed"), [(OPTIONS, []), (FILES, ["pyarrow"])])
def test_nothing_heavy_is_loaded_to_refuse_bad_input(run_lines_bare, inputs, lines, allowed):
    before = sorted(inputs.rglob("*"))
    load = LIGHT + (PARQUET if "pyarrow" in allowed else [])
    wrong = []
    for line, found in zip(
        lines, run_lines_bare([line.split() for line in lines], load), strict=True
    ):
        said = sentences(found["err"])
        is_refused = found["code"] == 2 and len(said) == 1 and "Traceback" not in found["err"]
        too_heavy = [name for name in found["heavy"] if name not in allowed]
        # What is in a file that is no trace stays in it.
        tells = "secr" in found["err"] and "import" not in line
        if not is_refused or too_heavy or tells:
            wrong.append((line, found["code"], said, too_heavy))
    assert wrong == []
    assert sorted(inputs.rglob("*")) == before


@pytest.mark.slow
def test_the_first_of_several_mistakes_is_the_option(run_lines_bare):
    """Options before files, the profile before the plan, the plan before the trace."""
    wrong = ["--drop 2", "--profile none", "--plan bad.toml", "--suppressions none.toml"]
    says = ["--drop", "--profile none", "bad.toml", "none.toml", "none.parquet"]
    lines = []
    for number in range(len(wrong) + 1):
        profile = [] if number <= 1 else ["--profile", "hardened"]
        lines.append(["run", "none.parquet", *profile, *" ".join(wrong[number:]).split()])
    for found, word in zip(run_lines_bare(lines), says, strict=True):
        assert found["code"] == 2 and word in sentences(found["err"])[0], found["err"]


@pytest.mark.slow
def test_it_takes_a_part_of_the_time_that_loading_torch_takes(inputs):
    """CPU time of both on this machine, one after the other; the quickest of three each."""
    bad = ["-m", "replay.cli", *f"{RUN} --drop 0.5 --plan bad.toml".split()]

    def seconds(*words):
        before = os.times()
        subprocess.run(
            [sys.executable, *words],
            cwd=inputs,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
        )
        after = os.times()
        # Of ended children; wall time depends on what else the machine does.
        return sum(after[2:4]) - sum(before[2:4])

    times = [(seconds(*bad), seconds("-c", "import torch")) for _ in range(3)]
    refused_s, torch_s = (min(each) for each in zip(*times, strict=True))
    assert refused_s < torch_s * 0.7, json.dumps(times)


@pytest.mark.slow
def test_a_matrix_is_checked_before_its_directory_is_made(run_lines_bare, inputs):
    for name in ("no-parquet", "two-traces", "no-trace", "no-profile", "no-plan"):
        [found] = run_lines_bare(
            [["matrix", "run", f"{name}.kvmatrix.toml", "--out", f"{name}-out"]]
        )
        assert found["code"] == 2
        assert f"{name}.kvmatrix.toml:" in found["err"]
        assert not (inputs / f"{name}-out").exists()
