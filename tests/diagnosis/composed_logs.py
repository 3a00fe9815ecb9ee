"""Lines as engines write them, composed from numbers, for tests of reading."""

from replay.diagnosis.reading.log_reader import LineReader


def read(text, source="server.log"):
    data = text if isinstance(text, bytes) else text.encode()
    reader = LineReader(source)
    return [*reader.feed(data), *reader.finish()]


def plain(record):
    """A record without its place's line number."""
    return (type(record).__name__, record.place.rank, str(record).split("),", 1)[-1])


def head(second=0, rank="TP0", minute=0):
    return f"[2025-10-15 11:{minute:02d}:{second:02d}{' ' + rank if rank else ''}]"


def old_check(available, evictable, total, protected=0, prefix=""):
    """Until 0.5.2: `available_size` includes evictable, and two lines follow."""
    return (
        f"{prefix}token_to_kv_pool_allocator memory leak detected! available_size="
        f"{available + evictable}, protected_size={protected}, "
        f"self.max_total_num_tokens={total}\n"
        f"self.token_to_kv_pool_allocator.available_size()={available}\n"
        f"self.tree_cache.evictable_size()={evictable}\n"
    )


def new_terms(pool, available, evictable, total, protected=0, held=0, uncached=0):
    return (
        f"[{pool}] total={total}, available={available}, evictable={evictable}, "
        f"protected={protected}, session_held={held}, uncached={uncached}"
    )


def decode_line(second=0, rank="TP0", running=3, token=2624, transfer=0, minute=0):
    return (
        f"{head(second, rank, minute)} Decode batch, #running-req: {running}, #token: {token}, "
        f"token usage: 0.02, pre-allocated usage: 0.00, #prealloc-req: 0, "
        f"#transfer-req: {transfer}, #retracted-req: 0, cuda graph: True, "
        "gen throughput (token/s): 86.14, #queue-req: 0\n"
    )


def failed_transfer(room, rank="TP0", reason="Aborted by AbortReq.", second=0):
    return (
        f"{head(second, rank)} Decode transfer failed for request rank=0 "
        f"decode_req.req.rid='r{room}' decode_req.req.bootstrap_room={room} with exception "
        f"KVTransferError(bootstrap_room={room}): {reason}\n"
    )


def died_of(message, rank="DP1 TP1", second=0):
    return (
        f"{head(second, rank)} Scheduler hit an exception: Traceback (most recent call last):\n"
        '  File "/sgl/scheduler.py", line 2279, in run_scheduler_process\n'
        "    scheduler.event_loop_overlap_disagg_decode()\n"
        f"{message}"
    )
