"""docs/traces.md: its shell blocks run as they stand, and it leaves no format out."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from traces.dataset import open_trace
from traces.formats import FORMATS
from traces.schema import COLUMNS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "traces.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which every shell block of the page has run."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) > 12
    folder = tmp_path_factory.mktemp("docs")
    # `kvreplay` and `python3` are those of this interpreter.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("mooncake", [(0, 700, 52), (3_000_000, 1100, 9)]),
        ("azure", [(0, 374, 44), (4_314_579, 396, 109)]),
        ("burstgpt", [(0, 472, 18)]),
        ("bailian", [(3_125_000, 40, 210), (61_114_000, 33, 33)]),
        ("sglang", [(0, 4, 31), (1_250_000, 900, 512)]),
        ("dump", [(0, 4, 256)]),
        ("vllm", [(0, 563, 41)]),
        ("dynamo", [(0, 150, 41)]),
        ("aiperf", [(0, 563, 41), (100_000, 548, 1)]),
        ("baseten", [(0, 300, 40)]),
        ("gateway", [(0, 374, 44), (750_000, 396, 109)]),
        ("jsonl", [(500_000, 120, 8), (750_000, 64, 80)]),
        ("merged", [(0, 374, 44), (500_000, 120, 8), (750_000, 64, 80), (4_314_579, 396, 109)]),
    ],
)
def test_the_examples_make_traces(folder, name, rows):
    requests = list(open_trace(folder / f"{name}.parquet").iter_requests())
    assert [(r.arrival_us, r.input_tokens, r.output_tokens) for r in requests] == rows


@pytest.mark.slow
def test_the_other_examples_make_what_they_say(folder):
    counts = {
        path.stem: open_trace(path).request_count
        for path in folder.glob("*.parquet")
        if path.stem in ("day", "rush", "tenth", "public", "like")
    }
    assert counts["day"] == counts["public"] == 3000
    assert counts["like"] == 20_000
    assert 0 < counts["rush"] < 3000 and 0 < counts["tenth"] < 600


def test_the_page_names_every_column_and_format():
    text = PAGE.read_text(encoding="utf-8").lower()
    for column in COLUMNS:
        assert f"| `{column}` |" in text
    for name in FORMATS:
        assert name.replace("-", " ").split()[0] in text
