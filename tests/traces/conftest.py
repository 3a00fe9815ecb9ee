"""What the trace tests share: a way to write a trace, and where the real logs are."""

import os
from pathlib import Path

import pytest

from traces.dataset import TraceWriter


@pytest.fixture
def write_trace(tmp_path):
    def write(requests, name="t.parquet", block_size=16):
        path = tmp_path / name
        with TraceWriter(path, source="test", block_size=block_size) as writer:
            for request in requests:
                writer.write(request)
        return path

    return write


@pytest.fixture(scope="session")
def mooncake_log():
    root = os.environ.get("KVREPLAY_DATA")
    data = Path(root) if root else Path(__file__).resolve().parents[3] / "shared" / "data"
    path = data / "traces" / "mooncake" / "conversation_trace.jsonl"
    if not path.is_file():
        pytest.skip(f"no real Mooncake log at {path}; set KVREPLAY_DATA to the folder of data sets")
    return path
