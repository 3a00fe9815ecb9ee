"""What the tests on a CUDA device share. Imports torch, NumPy, pyarrow and pytest only.

python -m pytest -p no:cacheprovider tests/gpu
"""

import numpy as np
import pytest
import torch

from faults.rule import FaultPlan, FaultRule
from replay.pool.storage import NO_WRITER, KvStorage
from replay.profiles.catalogue import find_profile
from replay.profiles.overrides import override
from replay.run.replay_once import ReplayRequest, replay
from replay.run.session import SessionOptions
from traces.dataset import open_trace
from traces.schema import TraceRequest
from traces.writer import TraceWriter

needs_cuda = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]
CUDA = torch.device("cuda")

PLAN = FaultPlan(
    rules=(
        FaultRule(name="drop", fault="drop", probability=0.03),
        FaultRule(name="delay", fault="delay", probability=0.05, delay_us=700_000),
        FaultRule(name="duplicate", fault="duplicate", probability=0.05),
        FaultRule(name="unacknowledged", fault="drop", direction="prefill", probability=0.03),
    )
)
BLOCK_SIZE = 64


def write_trace(path, requests=80, seed=3):
    """A trace whose prompts share prefixes, of which a tenth is aborted."""
    draw = np.random.default_rng(seed)
    shared = draw.integers(1, 1 << 62, (4, 64), dtype=np.uint64)
    arrival_us = 0
    with TraceWriter(path, source="test", block_size=BLOCK_SIZE) as writer:
        for number in range(requests):
            arrival_us += int(draw.exponential(150_000))
            input_tokens = int(draw.integers(1, 64 * BLOCK_SIZE))
            hashes = draw.integers(1, 1 << 62, -(-input_tokens // BLOCK_SIZE), dtype=np.uint64)
            common = int(draw.integers(0, len(hashes) + 1))
            hashes[:common] = shared[draw.integers(0, len(shared)), :common]
            cancel_us = arrival_us + 500_000 if draw.random() < 0.1 else None
            output_tokens = int(draw.integers(1, 400))
            writer.write(
                TraceRequest(
                    f"r{number}", arrival_us, input_tokens, output_tokens, hashes, None, cancel_us
                )
            )
    return path


def run(trace, profile, device, out=None, **fields):
    """Replay with faults and two more cycles; the summary."""
    changes = {name: str(value) for name, value in fields.items()}
    request = ReplayRequest(
        trace=open_trace(trace),
        profile=override(find_profile(profile), changes),
        plan=PLAN,
        options=SessionOptions(seed=7, repeats=2),
        device=device,
    )
    return replay(request, out)


def receive(target: KvStorage, pages, source: KvStorage, source_pages, tag: int) -> None:
    """Copy pages from one storage to another, as a landed transfer does."""
    target.receive(pages, source, source_pages, tag, NO_WRITER)


def wrong_pages(storage: KvStorage, pages, words) -> torch.Tensor:
    """How many pages are not filled with their word; a scalar that nobody has waited for."""
    return torch.count_nonzero(torch.as_tensor(storage.differences(pages, words)))
