"""How the bytes of a log are cut on their way changes no verdict."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from replay.diagnosis.judging.judge import Judge
from replay.diagnosis.reading.log_reader import LineReader

_LEAK = "token_to_kv_pool_allocator memory leak detected! available_size={left}, protected_size=0, "
_LEAK += "self.max_total_num_tokens=4096\nself.token_to_kv_pool_allocator.available_size()={left}\n"
_LEAK += "self.tree_cache.evictable_size()=0\n"
LOG = "".join(
    f"[2026-01-12 10:0{minute}:00 TP0] Decode batch, #running-req: 2, #token: 900, token usage: 0.22"
    f", #transfer-req: {minute % 2}, #queue-req: 0\n\x1b[31mé\x1b[0m\n"
    f"[2026-01-12 10:0{minute}:30 TP0] " + _LEAK.format(left=4096 - 64 * minute)
    for minute in range(1, 5)
).encode()


def document(pieces: list[bytes]) -> dict:
    reader, judge = LineReader("decode.log"), Judge()
    for piece in pieces:
        judge.add_all(reader.feed(piece))
    judge.add_all(reader.finish())
    return judge.diagnosis().to_dict()


@given(st.lists(st.integers(0, len(LOG)), max_size=20))
def test_pieces_of_any_size_give_one_document(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(LOG)]
    pieces = [LOG[start:end] for start, end in pairwise(ends)]
    found = document(pieces)
    assert found == document([LOG])
    assert (found["verdict"], found["growth"], found["gap"]) == ("persistent", "growing", 256)
