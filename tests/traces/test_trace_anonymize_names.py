"""Pseudonyms and SipHash: what the anonymised trace is made of."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import traces.pseudonyms.siphash
from traces.pseudonyms.keyed_names import SEGMENTS_MAX, Pseudonyms, make_vocabulary
from traces.pseudonyms.siphash import siphash_words

KEY = bytes(range(16))
WORD = 2**64 - 1

NAMES = Pseudonyms(b"k" * 32)
OTHER_NAMES = Pseudonyms(b"l" * 32)

segments = st.sampled_from(["", "a", "b", "ab", "3", "é"])
paths = st.lists(segments, min_size=1, max_size=5).map("/".join)


def siphash_reference(message, key):
    """SipHash-2-4 as the specification reads, one message at a time."""

    def rotate(word, bits):
        return ((word << bits) | (word >> (64 - bits))) & WORD

    def sip_round(v0, v1, v2, v3):
        v0 = (v0 + v1) & WORD
        v1 = rotate(v1, 13) ^ v0
        v0 = rotate(v0, 32)
        v2 = (v2 + v3) & WORD
        v3 = rotate(v3, 16) ^ v2
        v0 = (v0 + v3) & WORD
        v3 = rotate(v3, 21) ^ v0
        v2 = (v2 + v1) & WORD
        v1 = rotate(v1, 17) ^ v2
        return v0, v1, rotate(v2, 32), v3

    k0, k1 = struct.unpack("<QQ", key)
    state = (
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    )
    rest = len(message) % 8
    padded = message + bytes(7 - rest) + bytes([len(message) % 256])
    for (block,) in struct.iter_unpack("<Q", padded):
        v0, v1, v2, v3 = state
        state = sip_round(*sip_round(v0, v1, v2, v3 ^ block))
        state = (state[0] ^ block, *state[1:])
    state = (state[0], state[1], state[2] ^ 0xFF, state[3])
    for _ in range(4):
        state = sip_round(*state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def test_siphash_gives_the_published_value():
    message = bytes(range(8))
    words = np.frombuffer(message, "<u8").astype(np.uint64)
    assert siphash_words(words, KEY).tolist() == [0x93F5F5799A932462]
    assert siphash_reference(message, KEY) == 0x93F5F5799A932462
    # The 15 bytes of the paper's own worked example.
    assert siphash_reference(bytes(range(15)), KEY) == 0xA129CA6149BE45E5


@given(st.lists(st.integers(0, WORD), max_size=20), st.binary(min_size=16, max_size=16))
def test_siphash_of_many_words_is_that_of_each(words, key):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traces.pseudonyms.siphash, "_CHUNK_WORDS", 3)
        hashes = siphash_words(np.array(words, np.uint64), key)
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == [siphash_reference(struct.pack("<Q", word), key) for word in words]


def test_siphash_leaves_its_input_alone_and_wants_16_bytes_of_key():
    words = np.arange(5, dtype=np.uint64)
    words.flags.writeable = False
    siphash_words(words, KEY)
    assert words.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="16 bytes"):
        siphash_words(words, KEY[:8])


@given(st.lists(paths, max_size=12))
def test_paths_share_exactly_the_names_of_the_segments_they_share(identities):
    name_of = {}
    for identity in identities:
        parts, names = identity.split("/"), NAMES.of_request(identity.encode(), None).split("/")
        assert len(parts) == len(names)
        for depth in range(1, len(parts) + 1):
            path, name = "/".join(parts[:depth]), "/".join(names[:depth])
            assert name_of.setdefault(path, name) == name
    assert len(set(name_of.values())) == len(name_of)
    # Equal segments of different parents are unrelated.
    last_segments = [name.rpartition("/")[2] for name in name_of.values()]
    assert len(set(last_segments)) == len(last_segments)


@given(paths, paths)
def test_a_request_begins_with_its_session_where_it_did(session, rest):
    session_name = NAMES.of_session(session.encode())
    inside = f"{session}/{rest}".encode()
    name = NAMES.of_request(inside, session.encode())
    assert name.startswith(session_name + "/")
    if inside.count(b"/") < SEGMENTS_MAX:
        assert name == NAMES.of_request(inside, None)
    # Without a slash after it, it is another segment that only looks alike.
    assert not NAMES.of_request(f"{session}x".encode(), session.encode()).startswith(session_name)


@pytest.mark.slow
@given(paths)
def test_a_name_depends_on_the_key_alone(path):
    name = NAMES.of_session(path.encode())
    assert Pseudonyms(b"k" * 32).of_session(path.encode()) == name
    assert NAMES.of_request(path.encode(), None) == name
    assert not set(name.split("/")) & set(OTHER_NAMES.of_session(path.encode()).split("/"))


@pytest.mark.parametrize("identity", [b"x" * 10_000, b"/" * 5_000, b"ab/" * 4_000, b"/", b""])
def test_names_of_monstrous_ids_stay_short_and_uncached(identity):
    pseudonyms = Pseudonyms(b"k" * 32)
    session_name = pseudonyms.of_session(identity)
    request_name = pseudonyms.of_request(identity + b"/7", identity)
    assert request_name.startswith(session_name + "/")
    assert len(request_name) < (SEGMENTS_MAX + 1) * 50
    assert pseudonyms.of_session(identity + b"x") != session_name
    # Of a long id at most its first segment is kept.
    assert pseudonyms._cached_name.cache_info().currsize <= (3 if len(identity) < 256 else 1)
    siblings = [pseudonyms.of_request(identity + b"/%d" % i, identity) for i in range(50)]
    assert len(set(siblings)) == 50


def test_the_cache_is_bounded():
    pseudonyms = Pseudonyms(b"k" * 32)
    assert pseudonyms._cached_name.cache_info().maxsize == 32768


def test_the_vocabulary_is_plain_and_the_same_every_time():
    words = make_vocabulary()
    assert words == make_vocabulary()
    assert len(words) > 500
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    # The words are used, not one of them.
    used = {NAMES.of_session(b"s%d" % i).partition("-")[0] for i in range(2000)}
    assert len(used) > 0.7 * len(words)


def test_names_do_not_depend_on_what_is_cached():
    for path in (b"acme/bob/3", b"/", b"//", b"acme", b"x" * 300 + b"/y", b"a/" * 20):
        used = Pseudonyms(b"k" * 32)
        used.of_session(b"acme/eve")
        used.of_session(b"")
        first = used.of_session(path)
        assert first == used.of_session(path) == Pseudonyms(b"k" * 32).of_request(path, None)
        assert len(first.split("/")) == min(SEGMENTS_MAX, path.count(b"/") + 1)
