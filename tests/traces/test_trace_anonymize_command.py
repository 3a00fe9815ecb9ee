"""`kvreplay trace anonymize`: where the secret comes from, what is said, and what is refused."""

import json
import os

import click
import pytest
from anonymize_helpers import KEYS, SECRET, read, write
from trace_helpers import make_request

from traces.dataset import open_trace
from traces.errors import OutputError
from traces.pseudonyms.anonymize import SOURCE, anonymize_trace

VARIABLE = "KVREPLAY_ANONYMIZE_KEY"


@pytest.fixture
def kvreplay(kvreplay, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    return lambda *words: kvreplay("trace", "anonymize", *words)


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "secret.key"
    path.write_text(SECRET + "\n")
    return path


@pytest.mark.slow
def test_file_variable_and_prompt_are_one_secret(kvreplay, tmp_path, key_file, monkeypatch):
    source = write(tmp_path / "in.parquet", [make_request(i) for i in range(9)])
    outputs = [tmp_path / f"{name}.parquet" for name in ("file", "windows", "variable", "prompt")]
    code, out, err = kvreplay(source, "-o", outputs[0], "--key-file", key_file)
    assert (code, out, err) == (0, f"{outputs[0]}: 9 requests anonymised, times kept\n", "")
    windows = tmp_path / "windows.key"
    windows.write_bytes(SECRET.encode() + b"\r\n")
    # The file goes before the variable.
    monkeypatch.setenv(VARIABLE, "a variable that is not looked at")
    assert kvreplay(source, "-o", outputs[1], "--key-file", windows)[0] == 0
    monkeypatch.setenv(VARIABLE, SECRET)
    assert kvreplay(source, "-o", outputs[2])[0] == 0
    monkeypatch.delenv(VARIABLE)
    asked = []

    def answer(text):
        asked.append(text)
        return SECRET

    monkeypatch.setattr(click.termui, "hidden_prompt_func", answer)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    code, out, err = kvreplay(source, "-o", outputs[3])
    assert code == 0 and len(asked) == 2 and SECRET not in out + err
    assert len({path.read_bytes() for path in outputs}) == 1


def test_json_says_what_was_done(kvreplay, tmp_path, key_file):
    requests = [make_request(i, arrival_us=i * 1500, cancel_us=None) for i in range(9)]
    source = write(tmp_path / "in.parquet", requests)
    output = tmp_path / "out.parquet"
    arguments = (source, "-o", output, "--key-file", key_file, "--quantise-ms", 5)
    code, out, err = kvreplay(*arguments, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "path": str(output),
        "requests": 9,
        "quantise_ms": 5,
        "source": SOURCE,
        "block_size": 16,
        "sha256": open_trace(output).sha256(),
    }
    times_us = [r.arrival_us for r in read(output)]
    assert times_us == [0, 0, 0, 0, 5000, 5000, 5000, 10_000, 10_000]
    code, out, _ = kvreplay(*arguments)
    assert (code, out) == (0, f"{output}: 9 requests anonymised, times floored to 5 ms\n")


def test_bad_secrets_are_one_sentence_and_nothing_is_written(kvreplay, tmp_path, monkeypatch):
    source = write(tmp_path / "in.parquet", [make_request(0)])
    files = {"short": b"fifteen bytes..\n", "long": b"x" * 5000, "empty": b""}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    present = sorted(tmp_path.iterdir())
    output = ("-o", tmp_path / "out.parquet")
    cases = [
        (("--key-file", tmp_path / "short"), "has 15 bytes, but a secret needs at least 16"),
        (("--key-file", tmp_path / "empty"), "has 0 bytes"),
        (("--key-file", tmp_path / "long"), "more than 4096 bytes"),
        (("--key-file", tmp_path / "none"), "cannot be read (No such file or directory)"),
        (("--key-file", tmp_path), "cannot be read (Is a directory)"),
        ((), "give --key-file, set KVREPLAY_ANONYMIZE_KEY"),
        ((SECRET,), "Got unexpected extra argument"),
    ]
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    for arguments, message in cases:
        code, out, err = kvreplay(source, *output, *arguments)
        assert (code, out) == (2, ""), arguments
        assert message in err and "Traceback" not in err, err
        assert "fifteen" not in err
    code, _, err = kvreplay(source, *output, "--key-file", tmp_path / "short")
    assert "openssl rand -hex 32" in err and len(err.splitlines()) == 1
    monkeypatch.setenv(VARIABLE, "short")
    code, _, err = kvreplay(source, *output)
    assert code == 2 and "environment variable KVREPLAY_ANONYMIZE_KEY: has 5 bytes" in err
    assert sorted(tmp_path.iterdir()) == present


def test_neither_the_trace_nor_the_key_is_overwritten(kvreplay, tmp_path, key_file):
    source = write(tmp_path / "in.parquet", [make_request(0)])
    content = source.read_bytes()
    (tmp_path / "soft").symlink_to(source)
    os.link(source, tmp_path / "hard")
    (tmp_path / "soft-key").symlink_to(key_file)
    for output in (source, tmp_path / "soft", tmp_path / "hard", tmp_path / "." / "in.parquet"):
        code, out, err = kvreplay(source, "-o", output, "--key-file", key_file)
        assert (code, out) == (2, "") and "which this command reads" in err
        with pytest.raises(OutputError, match="which this command reads"):
            anonymize_trace(source, output, KEYS)
    code, out, err = kvreplay(tmp_path / "soft", "-o", source, "--key-file", key_file)
    assert code == 2 and "which this command reads" in err
    for output in (key_file, tmp_path / "soft-key"):
        code, _, err = kvreplay(source, "-o", output, "--key-file", key_file)
        assert code == 2 and "which this command reads" in err
    assert source.read_bytes() == content and key_file.read_text() == SECRET + "\n"


def test_a_trace_that_is_wrong_leaves_no_output(kvreplay, tmp_path, key_file):
    no_trace = tmp_path / "log"
    no_trace.write_text("x")
    damaged = write(tmp_path / "in.parquet", [make_request(i) for i in range(3000)])
    content = bytearray(damaged.read_bytes())
    content[200:2000] = bytes(1800)
    damaged.write_bytes(content)
    for source, message in ((no_trace, "not a Parquet file"), (damaged, "the file is damaged")):
        code, _, err = kvreplay(source, "-o", tmp_path / "out", "--key-file", key_file)
        assert code == 2 and message in err
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*.tmp"))


def test_help_tells_what_is_not_hidden_and_why_the_secret_is_no_argument(kvreplay):
    code, out, _ = kvreplay("--help")
    text = " ".join(out.split())
    assert code == 0
    assert "Example:\n    kvreplay trace anonymize " in out
    for words in (
        "NOT hidden:",
        "lengths",
        "priorities",
        "which requests share a session",
        "shell history",
    ):
        assert words in text
