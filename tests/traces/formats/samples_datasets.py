"""Made-up logs of the data sets that services published: BurstGPT, Bailian and Baseten.

Each table lists rows in file order, every one with its outcome. All are readable, the ugly ones too.
"""

import json

import pyarrow as pa
from sample_checks import chained, kept, parquet

from traces.hashing import child_key

T0_MS = 1_790_000_000_000


# BurstGPT

BURSTGPT_HEADER = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"
)
_CHAT = "Conversation log"

#: Times count from a day long before the log, so the trace starts at its first arrival.
BURSTGPT_FIRST_US = 5_000_000

BURSTGPT = [
    (
        "5,s-1,9,ChatGPT,472,18,490," + _CHAT,
        kept(None, 5_000_000 - BURSTGPT_FIRST_US, 472, 18, session="s-1"),
    ),
    (
        "5,s-2,4,GPT-4,417,276,693," + _CHAT,
        kept(None, 5_000_000 - BURSTGPT_FIRST_US, 417, 276, session="s-2"),
    ),
    (
        "45.0,,3,ChatGPT,1087,230,1317,API log",
        kept(None, 45_000_000 - BURSTGPT_FIRST_US, 1087, 230),
    ),
    ("46.5,,3,ChatGPT,95,0,95,API log", "Response tokens is 0: the request failed"),
    ("47,,,GPT-4,0,0,0," + _CHAT, "Response tokens is 0: the request failed"),
    ("47,,1,GPT-4,0,3,3," + _CHAT, "Request tokens is 0"),
    # Time runs backwards.
    (
        "12,s-1,2,ChatGPT,500,20,520," + _CHAT,
        kept(None, 12_000_000 - BURSTGPT_FIRST_US, 500, 20, session="s-1"),
    ),
    # A row twice: rows have no id, so both count.
    ("60,,1,ChatGPT,10,1,11,API log", kept(None, 60_000_000 - BURSTGPT_FIRST_US, 10, 1)),
    ("60,,1,ChatGPT,10,1,11,API log", kept(None, 60_000_000 - BURSTGPT_FIRST_US, 10, 1)),
    (",s-3,1,ChatGPT,10,1,11," + _CHAT, "Timestamp is missing"),
    ("61,s-3,1,ChatGPT,,1,11," + _CHAT, "Request tokens is missing"),
    ("62,s-3,1,ChatGPT,10,,11," + _CHAT, "Response tokens is missing"),
    ("63,s-3,1,ChatGPT,ten,1,11," + _CHAT, "Request tokens is not a whole number"),
    ("-1,s-3,1,ChatGPT,10,1,11," + _CHAT, "Timestamp is negative or out of range"),
    ("nan,s-3,1,ChatGPT,10,1,11," + _CHAT, "Timestamp is not a number"),
    ("64,s-3,1,ChatGPT,10,-4,11," + _CHAT, "Response tokens is negative"),
    ("65,s-3,1,ChatGPT,10,2147483648,11," + _CHAT, "Response tokens is out of range"),
    (
        '66,"sesión, 会話",1,ChatGPT,7.0,2,9,' + _CHAT,
        kept(None, 66 * 10**6 - BURSTGPT_FIRST_US, 7, 2, session="sesión, 会話"),
    ),
    (
        "67, s-1 ,1,ChatGPT, 8 ,2,10," + _CHAT,
        kept(None, 67_000_000 - BURSTGPT_FIRST_US, 8, 2, session="s-1"),
    ),
    (
        "19440301.0,s-9,12,GPT-4,880,410,1290," + _CHAT,
        kept(None, 19440301 * 10**6 - BURSTGPT_FIRST_US, 880, 410, session="s-9"),
    ),
    (
        "70,🙂,x,,3,2147483647,,",
        kept(None, 70_000_000 - BURSTGPT_FIRST_US, 3, 2**31 - 1, session="🙂"),
    ),
    ("1e2,,1,ChatGPT,10,1,11,API log", kept(None, 100_000_000 - BURSTGPT_FIRST_US, 10, 1)),
]


def burstgpt(end="\n"):
    return "".join(line + end for line in (BURSTGPT_HEADER, *(row for row, _ in BURSTGPT))).encode()


# Bailian


def _chat(chat, parent, timestamp, length, output, ids, **more):
    return {
        "chat_id": chat,
        "parent_chat_id": parent,
        "timestamp": timestamp,
        "input_length": length,
        "output_length": output,
        "type": "text",
        "turn": 1 if parent == -1 else 2,
        "hash_ids": ids,
        **more,
    }


def _without(row, *names):
    return {name: value for name, value in row.items() if name not in names}


BAILIAN = [
    (
        _chat(12, -1, 3.125, 40, 210, [17, 18, 19]),
        kept("12", 3_125_000, 40, 210, chained(17, 18, 19), "12"),
    ),
    (
        _chat(57, 12, 61.114, 33, 33, [17, 18, 902]),
        kept("57", 61_114_000, 33, 33, chained(17, 18, 902), "12"),
    ),
    (
        _chat(60, 57, 70, 48, 1, [17, 18, 903]),
        kept("60", 70_000_000, 48, 1, chained(17, 18, 903), "12"),
    ),
    # An id of its block alone: 902 and 18 once more, after other blocks.
    (
        _chat(58, -1, 61.114, 32, 4, [902, 18]),
        kept("58", 61_114_000, 32, 4, chained(902, 18), "58"),
    ),
    (
        _chat(59, -1, 62.0, 32, 0, [902, 18], type="file"),
        "output_length is 0: nothing was generated",
    ),
    # Its parent was skipped, but is known.
    (_chat(61, 59, 63, 16, 2, [902]), kept("61", 63_000_000, 16, 2, chained(902), "59")),
    # Two turns of one missing parent.
    (_chat(62, 7, 64, 16, 2, [904]), kept("62", 64_000_000, 16, 2, chained(904), "7")),
    (_chat(63, 7, 64, 16, 2, [904]), kept("63", 64_000_000, 16, 2, chained(904), "7")),
    # The parent stands later.
    (_chat(64, 65, 80, 16, 2, [905]), kept("64", 80_000_000, 16, 2, chained(905), "65")),
    (_chat(65, -1, 79, 16, 2, [906]), kept("65", 79_000_000, 16, 2, chained(906), "65")),
    # Its own parent, and a ring of two.
    (_chat(66, 66, 81, 16, 2, [907]), kept("66", 81_000_000, 16, 2, chained(907), "66")),
    (_chat(67, 68, 82, 16, 2, [908]), kept("67", 82_000_000, 16, 2, chained(908), "68")),
    (_chat(68, 67, 83, 16, 2, [909]), kept("68", 83_000_000, 16, 2, chained(909), "68")),
    (_chat(12, -1, 84, 16, 2, [910]), "its request id occurred before"),
    (
        _without(_chat(0, -1, 85, 16, 2, [911]), "chat_id", "type", "turn"),
        kept(None, 85_000_000, 16, 2, chained(911)),
    ),
    (
        _without(_chat(0, 57, 86, 16, 2, [912]), "chat_id"),
        kept(None, 86_000_000, 16, 2, chained(912), "12"),
    ),
    (
        _without(_chat(69, -1, 87, 16, 2, [913]), "parent_chat_id"),
        kept("69", 87_000_000, 16, 2, chained(913), "69"),
    ),
    (_chat(70, None, 88, 16, 2, None), kept("70", 88_000_000, 16, 2, None, "70")),
    (_chat(71, -1, None, 16, 2, [914]), "timestamp is missing"),
    (_chat(72, -1, 89, 16.5, 2, [914]), "input_length is not a whole number"),
    # Without a hash for the partial block, it gets one of its own.
    (
        _chat(73, -1, 90, 40, 2, [17, 18]),
        kept("73", 90_000_000, 40, 2, chained(17, 18, child_key(18, 20)), "73"),
    ),
    (_chat(74, -1, 91, 40, 2, [17]), kept("74", 91_000_000, 40, 2, None, "74")),
    (
        _chat("聊天\ud800", -1, 1, 16, 2, ["a"]),
        kept("聊天\\ud800", 1_000_000, 16, 2, None, "聊天\\ud800"),
    ),
    (_chat([1], {"a": 1}, 92, 16, 2, [[1]]), kept(None, 92_000_000, 16, 2)),
]


def bailian(end="\n"):
    return "".join(json.dumps(row) + end for row, _ in BAILIAN).encode()


# Baseten

BASETEN_SCHEMA = pa.schema(
    {
        "timestamp_start_unix_ms": pa.int64(),
        "prompt": pa.string(),
        "input_tokens": pa.int64(),
        "output_tokens": pa.int64(),
        "total_hashes": pa.list_(pa.uint64()),
        "block_size": pa.int64(),
        "provided_session_id": pa.string(),
        "poor_man_session_id": pa.int64(),
        "request_canceled": pa.int8(),
        "duration_e2e_ms": pa.int64(),
    }
)


def _completion(start, length, output, hashes, session=None, size=128, canceled=0, duration=900):
    return {
        "timestamp_start_unix_ms": None if start is None else T0_MS + start,
        "prompt": f"prompt {start} é",
        "input_tokens": length,
        "output_tokens": output,
        "total_hashes": hashes,
        "block_size": size,
        "provided_session_id": session,
        "poor_man_session_id": 1,
        "request_canceled": canceled,
        "duration_e2e_ms": duration,
    }


BASETEN = [
    # Hashes of the prompt and of the answer: the block in which the answer begins is left out.
    (
        _completion(1000, 300, 40, [811, 4, 9120], "u-1"),
        kept(None, 1_000_000, 300, 40, chained(811, 4, child_key(4, 0)), "u-1"),
    ),
    (
        _completion(1000, 256, 200, [811, 4, 5, 6], "u-1"),
        kept(None, 1_000_000, 256, 200, chained(811, 4), "u-1"),
    ),
    # Hashes of the prompt only, up to its partial block.
    (
        _completion(2500, 300, 400, [811, 4, 9121], "セッション"),
        kept(None, 2_500_000, 300, 400, chained(811, 4, 9121), "セッション"),
    ),
    # Earlier than the rows before it.
    (_completion(0, 64, 5, None, size=None), kept(None, 0, 64, 5)),
    (_completion(1, 64, 5, [], size=None), kept(None, 1000, 64, 5)),
    (_completion(2, 64, 5, [1], size=None), kept(None, 2000, 64, 5)),
    (_completion(3, 64, 5, [1], size=0), kept(None, 3000, 64, 5)),
    (_completion(4, 64, 5, [1, 2, 3]), kept(None, 4000, 64, 5)),
    (_completion(5, 64, 5, [1], size=64), kept(None, 5000, 64, 5)),
    (_completion(6, 128, 5, [2**64 - 1]), kept(None, 6000, 128, 5, chained(2**64 - 1))),
    (_completion(7, 128, 5, [None]), kept(None, 7000, 128, 5)),
    # Cancelled before and after the first token, and at an unknown time.
    (
        _completion(8, 520, 0, [811, 4, 7, 8, 9], canceled=1, duration=300),
        kept(None, 8000, 520, 1, chained(811, 4, 7, 8, child_key(8, 11)), None, 308_000),
    ),
    (_completion(9, 64, 7, None, canceled=1, duration=0), kept(None, 9000, 64, 7, cancel=9000)),
    (_completion(10, 64, 7, None, canceled=1, duration=None), kept(None, 10_000, 64, 7)),
    (
        _completion(11, 64, 0, None, canceled=1, duration=None),
        "output_tokens is 0: nothing was generated",
    ),
    (_completion(12, 64, 0, None), "output_tokens is 0: nothing was generated"),
    (
        _completion(13, 64, 7, None, canceled=1, duration=-1),
        "duration_e2e_ms is negative or out of range",
    ),
    (
        _completion(14, 64, 7, None, canceled=1, duration=2**52),
        kept(None, 14_000, 64, 7, cancel=14_000 + 2**52 * 1000),
    ),
    (
        _completion(15, 64, 7, None, canceled=1, duration=2**62 // 1000),
        "duration_e2e_ms is out of range",
    ),
    (_completion(None, 64, 7, None), "timestamp_start_unix_ms is missing"),
    (_completion(16, None, 7, None), "input_tokens is missing"),
    (_completion(17, 64, None, None), "output_tokens is missing"),
    (_completion(18, -64, 7, None), "input_tokens is negative"),
    (_completion(19, 2**40, 7, None), "input_tokens is out of range"),
    # The same row twice: rows have no id, so both count.
    (_completion(20, 64, 7, None, "u-2"), kept(None, 20_000, 64, 7, session="u-2")),
    (_completion(20, 64, 7, None, "u-2"), kept(None, 20_000, 64, 7, session="u-2")),
    (_completion(21, 64, 7, None, "", canceled=None), kept(None, 21_000, 64, 7)),
]


def baseten(**options):
    return parquet([row for row, _ in BASETEN], BASETEN_SCHEMA, **options)


def samples():
    """Format name -> the bytes of a readable file of it."""
    return {"burstgpt": burstgpt(), "bailian": bailian(), "baseten": baseten()}
