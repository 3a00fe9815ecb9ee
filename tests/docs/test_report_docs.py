"""docs/report.md: its lines can be typed, and it leaves out no suffix, change, key or track."""

import gzip
import json
import re
from pathlib import Path

import pytest

from replay.cli import run_command_line

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "report.md").read_text(encoding="utf-8")


def keys_after(heading):
    """The keys in the first column of the table that follows a line."""
    table = PAGE[PAGE.index(heading) :].split("|---|", 1)[1].split("\n\n", 1)[0]
    cells = re.findall(r"^\| (`[^|]*`) \|", table, re.M)
    return [key for cell in cells for key in re.findall(r"`([a-z_]+)`", cell)]


@pytest.fixture
def made(ran):
    """The folder in which the commands of the page have run."""
    return ran("docs/report.md")[0]


@pytest.mark.slow
def test_every_key_of_the_document_is_told(made):
    told = json.loads((made / "fix.json").read_text())
    assert keys_after("## The JSON document") == list(told)
    assert sorted(keys_after("A recording:")) == sorted(told["recordings"][0])
    assert sorted(keys_after("A comparison:")) == sorted(told["comparison"])
    assert told["comparison"]["change"] == "gone"


@pytest.mark.slow
def test_every_key_that_is_printed_is_told(made, capsys, monkeypatch):
    monkeypatch.chdir(made)
    words = ["report", "before", "-o", "x.json", "--perfetto", "x.json.gz", "--json"]
    assert run_command_line(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert keys_after("`--json` prints") == list(told)
    for key in {key for output in told["outputs"] for key in output}:
        assert f"`{key}`" in PAGE


def test_every_change_and_every_suffix_is_told():
    from reports.compare.comparison import SIGNS
    from reports.outputs.together import KINDS

    changes = dict(re.findall(r"^\| `([a-z]+)` \| (.) \|", PAGE, re.M))
    assert changes == {change: sign for change, (sign, _, _) in SIGNS.items()}
    (suffixes,) = [re.findall(r"`(\.[a-z]+)`", PAGE[: PAGE.index("`--perfetto` takes")])]
    assert set(suffixes) == {kind for kind in KINDS if kind.startswith(".")}


def test_every_track_and_state_of_a_trace_file_is_told(made):
    document = json.loads(gzip.decompress((made / "before.json.gz").read_bytes()))
    told = set(re.findall(r"`([a-z' -]+)`", PAGE))
    for event in document["traceEvents"]:
        name = event.get("name")
        if event["ph"] == "C" or event.get("cat") in ("prefill", "decode"):
            assert name in told, name
        elif name == "thread_name":
            thread = re.sub(r" \d+$", "", event["args"]["name"])
            assert thread in told or thread.startswith(("phases", "drop")), thread
