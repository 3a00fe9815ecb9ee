"""Standard streams that are closed, full, or read by nobody: the exit code stays the verdict's."""

import subprocess
import sys

import pytest
from input_helpers import ROOT

#: Every verb, and the code that it ends with where all is well with its output.
LINES = {
    "--help": 0,
    "--version": 0,
    "run --help": 0,
    "trace --help": 0,
    "nonsense": 2,
    "run t.parquet --profile hardened": 0,
    "run t.parquet --profile sglang-0.4.6.post4 --drop 0.5 --seed 1": 1,
    "run t.parquet --profile sglang-0.4.6.post4 --drop 0.5 --seed 1 --json": 1,
    "run t.parquet --profile hardened --plan builtin:abort-before-pull --expect persistent": 3,
    "run none.parquet --profile hardened": 2,
    "reproduce --available 100 --total 228 --page-size 4 --profile hardened --out OUT": 1,
    "shrink lost -o OUT --max-replays 2": 0,
    "hunt -o OUT --seeds 1 --first 3 --json": 3,
    "matrix run good.kvmatrix.toml --out OUT --jobs 1": 0,
    "matrix list good.kvmatrix.toml": 0,
    "matrix list good.kvmatrix.toml --json": 0,
    "matrix merge none --out OUT": 2,
    "explain lost": 0,
    "explain lost --json --tables-only": 0,
    "report lost -o OUT.md": 0,
    "report lost --gen-suppressions": 0,
    "diagnose leak.log": 3,
    "diagnose leak.log --json": 3,
    "diagnose leak.log --expect inconclusive": 0,
    "diagnose leak.log --expect clean": 1,
    "diagnose none.log": 2,
    "profiles": 0,
    "profiles --json": 0,
    "faults": 0,
    "faults --schema": 0,
    "doctor --json": 0,
    "bench replay t.parquet": 0,
    "demo --out lost": 2,
    "trace synth -o OUT.parquet --requests 5 --json": 0,
    "trace import log.csv -o OUT.parquet --map when=arrival_ms --map prompt=input_tokens "
    "--map answer=output_tokens": 0,
    "trace inspect t.parquet": 0,
    "trace inspect t.parquet --against t.parquet": 0,
    "trace inspect t.parquet --json": 0,
    "trace slice t.parquet -o OUT.parquet": 0,
    "trace anonymize t.parquet -o OUT.parquet --key-file secret.key": 0,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "streams",
    [
        {"1": "nobody-reads"},
        {"1": "nobody-reads", "2": "nobody-reads"},
        {"0": "closed", "1": "closed", "2": "closed"},
        {"1": "/dev/null", "2": "/dev/full"},
    ],
    ids=lambda streams: " ".join(f"{number}:{what}" for number, what in streams.items()),
)
def test_the_exit_code_is_that_of_an_open_pipe(run_lines, tmp_path, streams):
    lines = [
        {
            "words": line.replace("OUT", str(tmp_path / f"out{number}")).split(),
            "streams": {"2": "/dev/null"} | streams,
        }
        for number, line in enumerate(LINES)
    ]
    codes = [found["code"] for found in run_lines(lines)]
    assert dict(zip(LINES, codes, strict=True)) == LINES


@pytest.mark.slow
def test_a_full_disk_is_said_and_is_bad_input(run_lines, tmp_path):
    """What was to be printed is lost, so the code is not the verdict's."""
    chosen = [line for line in LINES if "OUT" not in line]
    lines = [
        {"words": line.split(), "streams": {"1": "/dev/full", "2": f"{tmp_path}/{number}"}}
        for number, line in enumerate(chosen)
    ]
    for number, found in enumerate(run_lines(lines)):
        err = (tmp_path / str(number)).read_text()
        assert found["code"] == 2, (chosen[number], err)
        assert "Traceback" not in err and "Exception" not in err
        if LINES[chosen[number]] != 2:
            assert "kvreplay: cannot use standard output: No space left on device" in err


@pytest.mark.slow
def test_standard_input_that_is_closed(run_lines, tmp_path):
    for line, words in {
        "diagnose -": "-: standard input is closed",
        "trace anonymize t.parquet -o OUT": "no secret: give --key-file",
        "trace anonymize t.parquet -o OUT --key-file /dev/stdin": "key file /dev/stdin",
    }.items():
        err = tmp_path / "err"
        streams = {"0": "closed", "2": str(err)}
        words_of_line = line.replace("OUT", str(tmp_path / "o")).split()
        [found] = run_lines([{"words": words_of_line, "streams": streams}])
        assert found["code"] == 2, line
        assert words in err.read_text()
        err.unlink()


@pytest.mark.slow
def test_a_closed_output_is_not_where_the_next_file_goes(run_lines, inputs, tmp_path):
    """Descriptor 1 or 2 would be free for it."""
    made = {}
    for name in ("/dev/null", "closed"):
        out = tmp_path / f"{name[1:4]}.parquet"
        words = ["trace", "slice", "t.parquet", "-o", str(out), "--json"]
        [found] = run_lines([{"words": words, "streams": {"1": name, "2": name}}])
        assert found["code"] == 0
        made[name] = out.read_bytes()
    assert made["/dev/null"] == made["closed"]


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["head -1", "true", "cat"])
def test_in_a_shell(inputs, reader):
    """The whole of it, with a real reader, which may go before or after the first line."""
    script = f'set -o pipefail; "{sys.executable}" -m replay.cli diagnose leak.log | {reader}'
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=inputs,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "2>/dev/full"])
def test_closed_by_a_shell(inputs, closed):
    script = f'"{sys.executable}" -m replay.cli diagnose leak.log {closed}'
    done = subprocess.run(
        ["bash", "-c", script], cwd=inputs, env={"PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert done.returncode == 3


def test_following_a_log_ends_when_nobody_reads(run_lines):
    """Else it would go on for ever, watched by nobody."""
    words = ["diagnose", "--follow", "leak.log", "--poll-s", "0.05"]
    [found] = run_lines([{"words": words, "streams": {"1": "nobody-reads"}}])
    assert found["code"] == 3
