"""Status lines, transfers and crashes, and what collectors put before and around them."""

import json

import pytest
from composed_logs import decode_line, died_of, failed_transfer, head, new_terms, read

from replay.server_lines.records import Crash, Load, Transfer, TransferTrouble

CHECK = f"pool memory leak detected! {new_terms('full', 3996, 0, 4096)}"


def test_a_decode_line_says_every_queue():
    (seen,) = read(decode_line(rank="DP2 TP2", running=4, token=900, transfer=7))
    assert (seen.running, seen.used_tokens, seen.usage, seen.transferring) == (4, 900, 0.02, 7)
    assert (seen.prealloc, seen.retracted, seen.queued, seen.preallocated_usage) == (0, 0, 0, 0.0)
    assert (seen.place.rank, seen.place.time) == ("DP2 TP2", "2025-10-15T11:00:00")


def test_prefill_lines_of_both_ages_say_their_queues():
    (old,) = read(
        f"{head()} Prefill batch. #new-seq: 9, #new-token: 8192, #cached-token: 27, token usage: 0.03, "
        "#running-req: 0, #unbootstrapped-req: 1, #queue-req: 2, #transferring-req: 3 \n"
    )
    (new,) = read(
        f"{head()} Prefill batch [12], #new-seq: 9, #new-token: 8192, #cached-token: 27, "
        "token usage: 0.03, #running-req: 0, #queue-req: 2, #pending-token: 0, #bootstrap-req: 1, "
        "#inflight-req: 3, #optimistic-req: 0, cuda graph: False, input throughput (token/s): 1.00\n"
    )
    for seen in (old, new):
        assert (seen.bootstrapping, seen.queued, seen.inflight) == (1, 2, 3)
        assert (seen.prefilling, seen.cached_tokens, seen.usage) == (9, 27, 0.03)


def test_each_pool_of_a_hybrid_model_is_its_own_load():
    full, swa = read(
        f"{head()} Decode batch, #running-req: 4, #full token: 2642688, full token usage: 1.00, "
        "#swa token: 14592, swa token usage: 0.06, cuda graph: True, #queue-req: 3\n"
    )
    assert (full.pool, full.used_tokens, full.usage) == ("full", 2642688, 1.0)
    assert (swa.pool, swa.used_tokens, swa.queued) == ("swa", 14592, 3)
    full, mamba = read(
        f"{head()} Decode batch, #running-req: 4, #full token: 26, full token usage: 0.10, "
        "mamba num: 12, mamba usage: 0.50, #queue-req: 3\n"
    )
    assert (mamba.pool, mamba.used_tokens, mamba.usage) == ("mamba", 12, 0.5)


def test_vllm_says_its_engine_and_its_share():
    one, two = read(
        "(APIServer pid=1) INFO 10-14 17:04:48 [loggers.py:335] Engine 000: Avg prompt throughput: "
        "0.0 tokens/s, Avg generation throughput: 756.7 tokens/s, Running: 34 reqs, Waiting: 18 reqs, "
        "Deferred: 3 reqs, KV fetch: 0 waiting to start, 3 in progress, 0 completed waiting, "
        "GPU KV cache usage: 99.2%, Prefix cache hit rate: 43.2%\n"
        "INFO 10-14 17:04:58 metrics.py:455] Avg prompt throughput: 0.0 tokens/s, Running: 1 reqs, "
        "Swapped: 0 reqs, Pending: 2 reqs, GPU KV cache usage: 0.2%, CPU KV cache usage: 50.0%.\n"
    )
    assert (one.place.engine, one.place.rank, one.usage) == ("vllm", "DP0", 0.992)
    assert (one.running, one.queued) == (34, 18)
    assert (two.running, two.queued, two.usage, two.place.rank) == (1, 2, 0.002, "")
    assert two.place.time_s - one.place.time_s == 10


TRANSFERS = [
    (failed_transfer(83), "sglang", TransferTrouble.ABORTED, "83", "r83", None),
    (
        failed_transfer(8, reason="Request 8 timed out after 300.0s in KVPoll.Bootstrapping"),
        "sglang",
        TransferTrouble.TIMED_OUT_BOOTSTRAPPING,
        "8",
        "r8",
        300.0,
    ),
    (
        failed_transfer(8, reason="Request 8 timed out after 600.0s in KVPoll.WaitingForInput"),
        "sglang",
        TransferTrouble.TIMED_OUT_WAITING,
        "8",
        "r8",
        600.0,
    ),
    (
        failed_transfer(8, reason="Failed due to an unknown reason from another rank"),
        "sglang",
        TransferTrouble.FAILED_ON_ANOTHER_RANK,
        "8",
        "r8",
        None,
    ),
    (
        "Prefill transfer failed for request rank=2 req.rid='a-b' req.bootstrap_room=5 with exception "
        "KVTransferError(bootstrap_room=5): Failed to send kv chunk of 5 to 10.0.1.11:33137",
        "sglang",
        TransferTrouble.FAILED,
        "5",
        "a-b",
        None,
    ),
    (
        f"{head()} Some requests fail to receive KV Cache transfer done signal after bootstrapping.",
        "sglang",
        TransferTrouble.TIMED_OUT_WAITING,
        "",
        "",
        None,
    ),
    (
        f"{head()} Deferred KV release for room 5 timed out after 30.0s without a full drain ack from "
        "prefill; releasing anyway.",
        "sglang",
        TransferTrouble.HOLD_EXPIRED,
        "5",
        "",
        30.0,
    ),
    (
        "Unexpected transfer worker error for room 17",
        "sglang",
        TransferTrouble.FAILED,
        "17",
        "",
        None,
    ),
    (
        "Releasing expired KV blocks for request cmpl-1-0 which were retrieved by 0 decode worker(s) "
        "within 120 seconds.",
        "vllm",
        TransferTrouble.HOLD_EXPIRED,
        "",
        "cmpl-1-0",
        120.0,
    ),
    (
        "Releasing expired KV blocks for request cmpl-1-0 which were retrieved by 0 remote worker(s) "
        "before lease expired.",
        "vllm",
        TransferTrouble.HOLD_EXPIRED,
        "",
        "cmpl-1-0",
        None,
    ),
    (
        "Potentially invalid KV blocks for unrecognized request chatcmpl-9 were retrieved by a decode "
        "worker. They may have expired.",
        "vllm",
        TransferTrouble.READ_AFTER_RELEASE,
        "",
        "chatcmpl-9",
        None,
    ),
    (
        "[scheduler.py:439] chatcmpl-9 is still in WAITING_FOR_REMOTE_KVS state.",
        "vllm",
        TransferTrouble.STILL_WAITING,
        "",
        "chatcmpl-9",
        None,
    ),
    (
        "Force freed expired request: chatcmpl-9. Reason: Request exceeded timeout threshold "
        "(10 seconds). Action: Resources have been forcibly released to prevent memory leak.",
        "vllm-ascend",
        TransferTrouble.HOLD_EXPIRED,
        "",
        "chatcmpl-9",
        10.0,
    ),
    (
        "Request 7 timed out after 480 seconds without being sent. Freeing its blocks on the producer side.",
        "vllm",
        TransferTrouble.HOLD_EXPIRED,
        "",
        "7",
        480.0,
    ),
    (
        "[08/29/2025-09:12:47] [TRT-LLM] [W] Timed out waiting for context KV cache transfer after "
        "1000 milliseconds.",
        "trtllm",
        TransferTrouble.TIMED_OUT_WAITING,
        "",
        "",
        1.0,
    ),
    (
        "[2025-11-12 21:12:41,177] LMCache WARNING: Failed to allocate memory object, retrying...",
        "lmcache",
        TransferTrouble.STARVED,
        "",
        "",
        None,
    ),
    (
        "(Worker_DP0_TP5 pid=2) ERROR 12-10 03:24:54 [m.py:1] Mooncake transfer failed for request cmpl-8-0",
        "vllm-ascend",
        TransferTrouble.FAILED,
        "",
        "cmpl-8-0",
        None,
    ),
    (
        "Failed to transfer KV cache for request cmpl-8-0: Mooncake transfer failed, ret: -1",
        "vllm-ascend",
        TransferTrouble.FAILED,
        "",
        "cmpl-8-0",
        None,
    ),
    (
        "[n.py:8] Handshake failed for request cmpl-8-0, marking blocks as invalid",
        "vllm",
        TransferTrouble.FAILED,
        "",
        "cmpl-8-0",
        None,
    ),
    (
        "INFO 12-10 03:24:54 [m.py:1] Force freed request: chatcmpl-9",
        "vllm-ascend",
        TransferTrouble.HOLD_EXPIRED,
        "",
        "chatcmpl-9",
        None,
    ),
    (
        "LMCache WARNING: Failed to allocate memory for tensor(torch.Size([2, 8]), torch.float16) "
        "because no memory is available",
        "lmcache",
        TransferTrouble.STARVED,
        "",
        "",
        None,
    ),
    (
        "LMCache WARNING: Pin timeout detected for MemoryObj 4096. Pin count: 1, Elapsed time: 301.5s.",
        "lmcache",
        TransferTrouble.HOLD_EXPIRED,
        "",
        "",
        None,
    ),
]


@pytest.mark.parametrize(
    ("text", "engine", "trouble", "room", "request_id", "timeout_s"), TRANSFERS
)
def test_transfers_name_their_trouble(text, engine, trouble, room, request_id, timeout_s):
    (seen,) = read(text + "\n")
    assert isinstance(seen, Transfer)
    assert (seen.place.engine, seen.trouble, seen.room) == (engine, trouble, room)
    assert (seen.request_id, seen.timeout_s) == (request_id, timeout_s)


def test_a_kernel_without_workspace_is_no_full_cache():
    assert not read(
        "RuntimeError: Failed to allocate memory for batch_prefill_tmp_v with size 4358\n"
    )


def test_a_reason_in_a_routers_answer_ends_with_its_message():
    text = failed_transfer(7, reason="it might be dead").strip()
    (seen,) = read('{"error":{"message":"' + text + '"}}[me@host ~]$ \n')
    assert seen.reason == "it might be dead"


def test_held_blocks_are_counted():
    (seen,) = read(
        "(EngineCore_DP3 pid=546) INFO 08-29 09:12:36 [m.py:19] Delaying free of 6 blocks for request c-1\n"
    )
    assert (seen.trouble, seen.pages, seen.place.rank) == (TransferTrouble.HELD, 6, "DP3")


def test_a_scheduler_that_died_without_a_message_is_a_crash():
    (seen,) = read(died_of("    raise NotImplementedError()\nNotImplementedError\n"))
    assert (seen.message, seen.place.rank) == ("NotImplementedError", "DP1 TP1")


def test_the_watchdog_ends_a_scheduler_unless_it_is_soft():
    (seen,) = read(f"{head(0)} Watchdog timeout (self.watchdog_timeout=300)\n")
    assert isinstance(seen, Crash)
    assert (seen.message, seen.place.rank) == (
        "Watchdog timeout (self.watchdog_timeout=300)",
        "TP0",
    )
    soft = "Scheduler watchdog timeout (self.watchdog_timeout=300, self.soft=True)"
    assert not read(f"{head(0)} {soft}\n")


def test_a_scheduler_that_died_of_something_else_is_a_crash():
    (seen,) = read(died_of("Exception: Transferring failed\n"))
    assert isinstance(seen, Crash)
    assert (seen.message, seen.place.rank) == ("Exception: Transferring failed", "DP1 TP1")
    (seen,) = read(
        "(EngineCore_DP0 pid=9) ERROR 08-29 09:12:47 [core.py:1586] EngineCore encountered a fatal error.\n"
        "(EngineCore_DP0 pid=9) ERROR 08-29 09:12:47 [core.py:1586] Traceback (most recent call last):\n"
        "(EngineCore_DP0 pid=9) ERROR 08-29 09:12:47 [core.py:1586]     assert req_id in self.requests\n"
        "(EngineCore_DP0 pid=9) ERROR 08-29 09:12:47 [core.py:1586] AssertionError\n"
    )
    assert (seen.message, seen.place.engine) == (
        "AssertionError: assert req_id in self.requests",
        "vllm",
    )


def test_errors_that_kill_nobody_are_no_crash():
    assert not read(
        "Traceback (most recent call last):\n  File x\nValueError: bad request body\n"
        '10.0.0.1 - "POST /v1/completions HTTP/1.1" 500 Internal Server Error\n'
    )


@pytest.mark.parametrize(
    ("line", "rank", "instance"),
    [
        ("{}", "DP6 TP6 EP6", ""),
        ("2025-10-15T00:04:48.758564289Z {}", "DP6 TP6 EP6", ""),
        ("2025-10-15T00:04:48.758564289+02:00 stderr F {}", "DP6 TP6 EP6", ""),
        ("[pod/decode-0/sglang] {}", "DP6 TP6 EP6", "pod/decode-0/sglang"),
        ("decode-1  | {}", "DP6 TP6 EP6", "decode-1"),
        ("decode.log:{}", "DP6 TP6 EP6", "decode.log"),
        ("logs/decode.log:1412:{}", "DP6 TP6 EP6", "logs/decode.log"),
        ("\x1b[33m{}\x1b[0m", "DP6 TP6 EP6", ""),
        ("\x00\x00{}\r", "DP6 TP6 EP6", ""),
        ("Loading: 10%\rLoading: 99%\r{}", "DP6 TP6 EP6", ""),
    ],
)
def test_what_collectors_add_is_understood(line, rank, instance):
    message = f"[2025-10-15 11:03:35 DP6 TP6 EP6] {CHECK}"
    (seen,) = read(line.format(message) + "\n")
    assert (seen.gap, seen.place.rank, seen.place.instance) == (100, rank, instance)
    assert seen.place.time_s is not None


@pytest.mark.parametrize(
    "tag", ["[TP0] ", "2026-05-24 03:51:44 TP0] ", "[2026-05-24 03:51:44.123 TP0] "]
)
def test_broken_heads_still_tell_the_rank(tag):
    (seen,) = read(f"{tag}{CHECK}\n")
    assert seen.place.rank == "TP0"


def test_colours_between_numbers_are_taken_off():
    coloured = CHECK.replace("total=4096", "total=\x1b[1;31m4096\x1b[0m")
    (seen,) = read(f"\x1b[0;36m{head()}\x1b[0;0m {coloured}\n")
    assert seen.gap == 100


def test_json_around_a_line_is_taken_off():
    wrapped = {"log": decode_line(), "stream": "stderr", "time": "2025-10-15T11:00:05.5Z"}
    (seen,) = read(json.dumps(wrapped) + "\n")
    assert isinstance(seen, Load)
    assert seen.place.time == "2025-10-15T11:00:05.5Z"
    both = json.dumps({"message": f"{head()} {CHECK}\n{new_terms('swa', 1, 2, 9)}"})
    assert [record.pool for record in read(both)] == ["full", "swa"]


def test_times_without_a_year_go_on_after_new_year():
    first, last = read(
        "INFO 12-31 23:59:55 [l.py:1] Engine 000: Running: 1 reqs, Waiting: 0 reqs, GPU KV cache usage: 1.0%\n"
        "INFO 01-01 00:00:05 [l.py:1] Engine 000: Running: 1 reqs, Waiting: 0 reqs, GPU KV cache usage: 1.0%\n"
    )
    assert last.place.time_s - first.place.time_s == 10


def test_a_time_that_is_none_is_no_error():
    (seen,) = read(f"[2025-13-45 99:99:99 TP0] {CHECK}\n")
    assert (seen.place.time_s, seen.place.rank) == (None, "TP0")
