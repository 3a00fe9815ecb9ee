"""Between audits nothing waits for the device: seen on a CPU, and on a device without values."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from no_waiting import NoWaiting, WaitError, allow_in_waiting_places

from faults.rule import FaultPlan, FaultRule
from replay.pool.arrays import HostArrays
from replay.pool.device_arrays import DeviceArrays
from replay.pool.ledger import PageLedger
from replay.pool.pool import KvPool
from replay.pool.storage import NO_WRITER
from replay.pool.token_indices import TokenIndexAllocator
from replay.profiles.catalogue import find_profile
from replay.profiles.overrides import override
from replay.recording.kinds import LedgerViolations
from replay.recording.owner_codes import FIRST_OWNER
from replay.recording.tables import PAGES_SCHEMA
from replay.run.replay_once import ReplayRequest, replay
from replay.run.session import SessionOptions
from replay.watch.contents import ContentOracle
from replay.watch.page_map import Snapshot
from traces.dataset import open_trace

CPU, META = torch.device("cpu"), torch.device("meta")
PLAN = FaultPlan(
    rules=(
        FaultRule(name="drop", fault="drop", probability=0.03),
        FaultRule(name="delay", fault="delay", probability=0.05, delay_us=700_000),
        FaultRule(name="duplicate", fault="duplicate", probability=0.05),
    )
)


def values(count=8):
    return torch.arange(count)


@pytest.mark.parametrize(
    "wait",
    [
        lambda: values(1).item(),
        lambda: int(values(1)),
        lambda: bool(values(1)),
        lambda: values().nonzero(),
        lambda: values().unique(),
        lambda: torch.unique_consecutive(values()),
        lambda: values().masked_select(values() > 3),
        lambda: values()[values() > 3],
        lambda: values().__setitem__(values() > 3, values(4)),
        lambda: torch.equal(values(), values()),
        lambda: torch.allclose(values(), values()),
        lambda: torch.repeat_interleave(values()),
        lambda: torch.empty(3, device="meta").to("cpu"),
        lambda: torch.empty(3).copy_(torch.empty(3, device="meta")),
    ],
)
def test_what_waits_is_found(wait):
    with NoWaiting() as mode:
        with pytest.raises(WaitError):
            wait()
        with mode.pause():
            values(1).item()


@pytest.mark.parametrize("read", [torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.cpu])
def test_the_meta_device_finds_what_the_mode_cannot_see(read):
    with pytest.raises((NotImplementedError, RuntimeError, TypeError)):
        read(torch.empty(3, device="meta"))


def use_every_operation(pool, upload):
    """One pass over everything the schedulers do to a pool, in pieces of several pages."""
    other = KvPool("other", 64 * pool.page_size, pool.page_size, 3, pool.arrays)
    tokens = 3 * pool.page_size
    for ordinal in range(40):
        pages = pool.extend(ordinal, 0, tokens)
        row = pool.table.open_row()
        pool.table.write(row, 0, pages)
        pool.table.write(row, 3, pool.extend(ordinal, tokens, 400 * pool.page_size))
        words = upload(np.arange(3))
        pool.storage.write(pages, words)
        other.storage.receive(upload(np.array([7, 8, 9])), pool.storage, pages, 12345, NO_WRITER)
        differences = other.storage.differences(upload(np.array([7, 8, 9])), words ^ 12345)
        first = pool.arrays.gather(pages, pool.arrays.first_nonzero(differences))
        pool.ledger.owners(first), other.storage.writers(first % 64)
        owners = upload(np.full(2, ordinal + FIRST_OWNER))
        more = pool.acquire_many([ordinal], [2], owners)
        pool.table.fit_columns(402)
        pool.table.scatter(upload(np.full(2, row)), upload(np.array([400, 401])), more)
        pool.give_to_cache(ordinal, pages)
        pool.release_from_cache(pages)
        pool.release_group([(ordinal, more), (ordinal, pool.table.read(row, 3, 400))])
        if ordinal % 2:
            pool.table.close_row(row)
    for _ in range(1_100):
        pool.ledger.acquire(upload(np.array([1])), FIRST_OWNER)


@pytest.mark.slow
@pytest.mark.parametrize("device", [CPU, META], ids=str)
@pytest.mark.parametrize("sorts_pages", [False, True])
@pytest.mark.parametrize("page_size", [1, 64])
def test_pools_never_wait(device, page_size, sorts_pages):
    arrays = DeviceArrays(device)
    pool = KvPool("p", 1_000 * page_size, page_size, 3, arrays, sorts_pages)
    tokens = TokenIndexAllocator(pool.allocator, arrays)
    with NoWaiting() as mode:
        use_every_operation(pool, arrays.upload)
        last = tokens.alloc_extend(
            np.array([0, 0]), np.array([70, 5]), arrays.upload(-np.ones(2, int))
        )
        tokens.alloc_decode(np.array([71, 6]), last[:2])
    assert mode.operations > 1_000


def recorded(directory, names):
    return {name: pq.read_table(directory / f"{name}.parquet") for name in names}


def request(trace, profile, arrays):
    return ReplayRequest(
        trace=open_trace(trace),
        profile=override(find_profile(profile), {"kv_bytes_per_token": "3"}),
        plan=PLAN,
        options=SessionOptions(seed=7, repeats=1),
        device="cpu",
        arrays=arrays,
    )


PROFILES = pytest.mark.parametrize("profile", ["sglang-0.4.6.post4", "sglang-0.5.23", "hardened"])


@pytest.mark.slow
@PROFILES
def test_a_replay_waits_in_audits_only(make_trace, monkeypatch, profile):
    trace = make_trace(requests=40, abort_rate=0.15)
    with NoWaiting() as mode:
        allow_in_waiting_places(monkeypatch, mode.pause)
        summary = replay(request(trace, profile, DeviceArrays(CPU)))
    assert mode.operations > 1_000
    assert summary["requests"]["finished"] > 20


@pytest.mark.slow
@PROFILES
def test_a_replay_needs_no_value_of_the_device(make_trace, monkeypatch, tmp_path, profile):
    """On the meta device, with audits told that all is well: the same events at the same times."""
    trace = make_trace(requests=40, abort_rate=0.15)
    replay(request(trace, profile, HostArrays()), tmp_path / "host")
    monkeypatch.setattr(PageLedger, "violations", lambda _: LedgerViolations(0, 0))
    monkeypatch.setattr(PageLedger, "count_held", lambda _, pages, owner: len(pages))
    monkeypatch.setattr("replay.watch.audit.PoolAuditor.check_ledger", lambda _: None)
    monkeypatch.setattr(ContentOracle, "flush", lambda oracle: oracle._pending.clear())
    monkeypatch.setattr(Snapshot, "to_columns", lambda _: [[] for _ in PAGES_SCHEMA])
    with NoWaiting():
        replay(request(trace, profile, DeviceArrays(META)), tmp_path / "meta")
    tables = ("audits", "events", "requests", "episodes")
    assert recorded(tmp_path / "host", tables) == recorded(tmp_path / "meta", tables)
