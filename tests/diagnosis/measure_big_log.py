"""How fast and in how much memory a log of gigabytes is read and diagnosed.

    make biglog                                            or, with other sizes and kinds,
    python tests/diagnosis/measure_big_log.py --gib 0.5 --kind mix --kind status

Each log is made in a temporary folder and removed. Each measurement is a process of its own, so that
its peak memory is its own; CPU seconds are of the user and the system together. The baseline, timed
beside it, reads the same file in the same pieces and counts line ends.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PIECE_BYTES = 8 * 2**20
RANKS = 8


def head(number, rank=""):
    second = number // RANKS
    clock = f"{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    return f"[2025-10-15 {clock}{rank}]"


def status(number, draw):
    rank = f" DP{number % RANKS} TP{number % RANKS} EP{number % RANKS}"
    return (
        f"{head(number, rank)} Decode batch, #running-req: {draw.randint(0, 60)}, "
        f"#token: {draw.randint(0, 900_000)}, token usage: 0.{draw.randint(10, 99)}, "
        f"pre-allocated usage: 0.00, #prealloc-req: 0, #transfer-req: {draw.randint(0, 5)}, "
        "#retracted-req: 0, cuda graph: True, "
        f"gen throughput (token/s): {draw.random() * 900:.2f}, #queue-req: 0\n"
    )


def access(number, draw):
    return (
        f"{head(number)} INFO:     10.0.{draw.randint(0, 255)}.17:51234 - "
        '"POST /v1/chat/completions HTTP/1.1" 200 OK\n'
    )


def unknown(number, draw):
    return f"{head(number)} worker {draw.randint(0, 99)}: nothing that is known, {draw.random()}\n"


def rare(number, draw):
    rank = f" DP{number % RANKS} TP{number % RANKS}"
    room = draw.randint(0, 2**62)
    if number % 2:
        return (
            f"{head(number, rank)} Decode transfer failed for request rank=1 decode_req.req.rid='r{room}' "
            f"decode_req.req.bootstrap_room={room} with exception KVTransferError(bootstrap_room={room}): "
            f"Request {room} timed out after 300.0s in KVPoll.WaitingForInput\n"
        )
    return (
        f"{head(number, rank)} pool memory leak detected! [full] total=1000000, available={room % 999983}, "
        "evictable=0, protected=0, session_held=0, uncached=0\n"
    )


#: One rare line in so many.
RARE_EVERY = 20_000
KINDS = {
    "mix": (status, status, access, access, access, unknown),
    "status": (status,),
    "unknown": (unknown,),
}


def make_log(path, kind, size_bytes):
    """A log of that size; the same pieces come again with other dates."""
    draw, lines, size = random.Random(kind), [], 0
    makers = KINDS[kind]
    while size < PIECE_BYTES:
        number = len(lines)
        maker = (
            rare if kind == "mix" and number % RARE_EVERY == 77 else makers[number % len(makers)]
        )
        lines.append(maker(number, draw))
        size += len(lines[-1])
    piece = "".join(lines).encode()
    with path.open("wb") as file:
        for day in range(size_bytes // len(piece) + 1):
            date = f"[20{25 + day // 336}-{1 + day // 28 % 12:02d}-{1 + day % 28:02d} "
            file.write(piece.replace(b"[2025-10-15 ", date.encode()))


def measured(job, path):
    """CPU seconds, peak memory and results of a job in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--job", job, str(path)],
        capture_output=True,
        check=True,
        text=True,
    )
    return json.loads(done.stdout)


def run_job(job, path):
    from replay.diagnosis.diagnose import diagnose
    from replay.diagnosis.reading.log_reader import read_records
    from replay.diagnosis.reading.sources import open_logs

    started = time.process_time()
    if job == "baseline":
        result = sum(chunk.count(b"\n") for chunk in open_logs([path])[0].chunks())
    elif job == "read":
        result = sum(1 for _ in read_records(open_logs([path])))
    else:
        result = diagnose(open_logs([path])).worst.verdict
    cpu_s = time.process_time() - started
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_s": cpu_s, "peak_mib": peak_mib, "result": str(result)}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--kind", action="append", choices=sorted(KINDS))
    parser.add_argument("--job", nargs=2)
    options = parser.parse_args()
    if options.job:
        run_job(*options.job)
        return
    print("| log | job | MB per CPU second | of the baseline | peak MiB | result |")
    print("|---|---|---|---|---|---|")
    for kind in options.kind or KINDS:
        with tempfile.TemporaryDirectory(prefix="kvreplay-biglog-") as folder:
            path = Path(folder) / "server.log"
            make_log(path, kind, int(options.gib * 2**30))
            size_mb = path.stat().st_size / 1e6
            baseline_s = 0.0
            for job in ("baseline", "read", "diagnose"):
                one = measured(job, path)
                baseline_s = baseline_s or one["cpu_s"]
                print(
                    f"| {kind} | {job} | {size_mb / one['cpu_s']:.0f} | "
                    f"{one['cpu_s'] / baseline_s:.1f} | {one['peak_mib']:.0f} | {one['result']} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
