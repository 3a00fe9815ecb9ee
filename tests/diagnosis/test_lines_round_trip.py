"""Families of lines: what the writer of a family writes, its reader reads back."""

import string
from datetime import UTC, datetime

from composed_logs import read
from hypothesis import given
from hypothesis import strategies as st

from replay.recording.engine_messages import (
    PoolCounts,
    request_pool_message,
    token_pool_message,
)
from replay.server_lines.crashes import sglang_death, vllm_death
from replay.server_lines.log_line import LogLine, PrefixReader, sglang_line, vllm_line
from replay.server_lines.records import TransferTrouble
from replay.server_lines.sglang_checks import python_warning
from replay.server_lines.sglang_load import decode_batch, prefill_batch
from replay.server_lines.sglang_transfers import (
    ABORTED,
    PEER_DEAD,
    failed_transfer,
    forced_release,
    timed_out,
    transfer_error,
)
from replay.server_lines.vllm import expired_hold, statistics

WHEN = datetime(2025, 6, 1, 12, 30)
SGLANG = st.sampled_from(("sglang-0.4", "sglang-0.5"))
COUNT = st.integers(0, 10**9)
TOKENS = st.integers(0, 10**7)
#: Usages are printed with two digits.
SHARE = st.integers(0, 100).map(lambda hundredths: hundredths / 100)
ID = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=60)
ROOM = st.integers(0, 2**63 - 1)


def read_sglang(message, tag=" DP1 TP1"):
    """The records of one message of SGLang, none of which may be without the place it was given."""
    records = read(sglang_line(WHEN, tag, message) + "\n")
    assert {each.place.time for each in records} <= {"2025-06-01T12:30:00"}
    assert {each.place.rank for each in records} <= {tag.strip()}
    return records


@given(
    st.datetimes(datetime(1973, 1, 1), datetime(2100, 1, 1)),
    st.integers(0, 99),
    st.integers(0, 99),
)
def test_prefixes(when, dp_rank, tp_rank):
    seconds = when.replace(microsecond=0, tzinfo=UTC).timestamp()
    line = LogLine(1, sglang_line(when, f" DP{dp_rank} TP{tp_rank}", "said"))
    prefix = PrefixReader("x").read(line)
    assert (prefix.time_s, prefix.rank) == (seconds, f"DP{dp_rank} TP{tp_rank}")
    both = vllm_line(f"EngineCore_DP{dp_rank} pid=1", "INFO", when, "core.py:1", "one\ntwo")
    first, second = both.split("\n")
    assert first.partition("] ")[0] == second.partition("] ")[0]
    prefix = PrefixReader("x").read(LogLine(1, second))
    assert (prefix.rank, prefix.stamp.time) == (f"DP{dp_rank}", f"{when:%m-%d %H:%M:%S}")


@given(SGLANG, *[COUNT] * 5, SHARE, SHARE, st.floats(0, 1e6), st.booleans())
def test_decode_status(
    style, running, used, prealloc, transferring, queued, usage, allocated, speed, has_graph
):
    message = decode_batch(
        style,
        running=running,
        used_tokens=used,
        usage=usage,
        preallocated_usage=allocated,
        prealloc=prealloc,
        transferring=transferring,
        queued=queued,
        throughput=speed,
        has_cuda_graph=has_graph,
    )
    (load,) = read_sglang(message)
    assert (load.pool, load.running, load.used_tokens, load.usage) == ("full", running, used, usage)
    assert (load.queued, load.preallocated_usage) == (queued, allocated)
    told = (prealloc, transferring, 0) if style == "sglang-0.5" else (None, None, None)
    assert (load.prealloc, load.transferring, load.retracted) == told


@given(SGLANG, *[COUNT] * 7, SHARE, st.floats(0, 1e6))
def test_prefill_status(
    style, prefilling, new, cached, bootstrapping, queued, pending, inflight, usage, speed
):
    message = prefill_batch(
        style,
        prefilling=prefilling,
        new_tokens=new,
        cached_tokens=cached,
        usage=usage,
        bootstrapping=bootstrapping,
        queued=queued,
        queued_tokens=pending,
        inflight=inflight,
        throughput=speed,
    )
    (load,) = read_sglang(message)
    assert (load.pool, load.running, load.usage) == ("full", 0, usage)
    assert (load.prefilling, load.cached_tokens) == (prefilling, cached)
    assert (load.bootstrapping, load.queued, load.inflight) == (bootstrapping, queued, inflight)


@given(st.integers(0, 999), *[COUNT] * 3, SHARE, *[st.floats(0, 1e6)] * 2)
def test_vllm_status(dp_rank, running, waiting, fetching, usage, prompt, generation):
    message = statistics(
        dp_rank,
        prompt_throughput=prompt,
        generation_throughput=generation,
        running=running,
        queued=waiting + fetching,
        fetching=fetching,
        usage=usage,
        cache="Prefix cache hit rate: 0.0%",
    )
    (load,) = read(vllm_line("APIServer pid=1", "INFO", WHEN, "loggers.py:335", message) + "\n")
    assert (load.running, load.queued, load.usage) == (running, waiting + fetching, usage)
    assert load.place.rank == f"DP{dp_rank}"


@given(SGLANG, TOKENS, TOKENS, TOKENS, st.integers(-(10**6), 10**6), st.booleans())
def test_checks(style, available, evictable, protected, gap, is_warning):
    counts = PoolCounts(available, evictable, protected, available + evictable + protected + gap)
    if style == "sglang-0.4" and counts.total < 0:
        return
    message = token_pool_message(style, counts)
    if is_warning and style == "sglang-0.4":
        records = read(python_warning(message, 1249) + "\n")
    else:
        records = read_sglang(message)
    (found,) = records
    assert (found.pool, found.gap, found.total) == ("full", gap, counts.total)
    assert (found.available, found.evictable, found.protected) == (available, evictable, protected)


@given(SGLANG, TOKENS, TOKENS)
def test_checks_of_request_slots(style, available, total):
    (found,) = read_sglang(request_pool_message(style, available, total))
    assert (found.pool, found.gap) == ("req_to_token", total - available)


REASONS = st.sampled_from(
    (
        (ABORTED, TransferTrouble.ABORTED),
        (PEER_DEAD, TransferTrouble.FAILED),
        (timed_out(7, 300, "WaitingForInput"), TransferTrouble.TIMED_OUT_WAITING),
        (timed_out(7, 300, "Bootstrapping"), TransferTrouble.TIMED_OUT_BOOTSTRAPPING),
    )
)


@given(
    st.sampled_from(("Decode transfer", "Decode handshake", "Prefill transfer")),
    ID,
    ROOM,
    REASONS,
    st.one_of(st.none(), st.integers(0, 99)),
)
def test_failed_transfers(what, request_id, room, reason, tp_rank):
    words, trouble = reason
    message = failed_transfer(what, request_id, room, transfer_error(room, words), tp_rank)
    (found,) = read(sglang_line(WHEN, "", message) + "\n")
    assert (found.trouble, found.request_id, found.room) == (trouble, request_id, str(room))
    assert found.reason == words
    assert found.timeout_s == (300 if "timed out" in words else None)
    assert found.place.rank == ("" if tp_rank is None else f"TP{tp_rank}")


@given(ROOM, st.integers(1, 10**6).map(lambda tenths: tenths / 10), ID)
def test_holds_that_expired(room, timeout_s, request_id):
    (found,) = read_sglang(forced_release(room, timeout_s))
    assert (found.trouble, found.room) == (TransferTrouble.HOLD_EXPIRED, str(room))
    assert found.timeout_s == timeout_s
    line = vllm_line("EngineCore_DP3 pid=1", "WARNING", WHEN, "x.py:1", expired_hold(request_id))
    (found,) = read(line + "\n")
    assert (found.trouble, found.request_id) == (TransferTrouble.HOLD_EXPIRED, request_id)
    assert found.place.rank == "DP3"


@given(st.sampled_from(("prefill", "decode")), SGLANG, st.integers(0, 9))
def test_deaths(side, style, number):
    (found,) = read_sglang(sglang_death(f"Transfer {number} failed", side, style, of_check=False))
    assert found.message == f"Exception: Transfer {number} failed"
    message = token_pool_message(style, PoolCounts(10, 20, 30, 99))
    (found,) = read_sglang(sglang_death(message, side, style, of_check=True))
    assert (found.gap, found.raised) == (39, True)
    words = vllm_death("AssertionError: assert req_id in self.requests")
    (found,) = read(vllm_line("EngineCore_DP2 pid=1", "ERROR", WHEN, "core.py:1", words) + "\n")
    assert (found.place.engine, found.place.rank) == ("vllm", "DP2")
    assert "assert req_id in self.requests" in found.message
