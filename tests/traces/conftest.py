"""How the trace tests write a trace: in blocks of 16 tokens."""

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
