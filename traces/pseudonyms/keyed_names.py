"""Stable, readable pseudonyms for identities that are paths, such as `acme/bob-17/3`.

The name of a segment, such as `smith-0f3a...` for `acme`, depends on the path before it, through a
keyed digest. Equal paths therefore get equal names, and paths with a common prefix (tenants,
sessions, turns) share the names of that prefix, while equal segments of different parents (turn 3
of two sessions) get unrelated names.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b

from faker import Faker

#: Segments of a path that are named individually; the rest gets one name, so that names stay short.
SEGMENTS_MAX = 8

#: Bytes of the digest in a name, as hexadecimal digits after its word.
TAG_BYTES = 12

_DIGEST_BYTES = 32
_VOCABULARY_SEED = 1
_VOCABULARY_DRAWS = 600

# Together they bound the memory of a cache: 32768 entries of a few hundred bytes.
_CACHED_PATHS = 2**15
_CACHED_PATH_BYTES_MAX = 256


#: A path's pseudonym, and the digest under which its next segment is named.
_Name = tuple[str, bytes]

_ROOT: _Name = ("", b"")


class Pseudonyms:
    """Names for identities, one to one for each key, and unrelated between keys.

    The probability that any two of 100,000,000 different identities share a name is below 7e-14: a
    name ends in 96 bits of a digest, and n of those collide with probability n**2 / 2**97. If two
    requests collide, `TraceWriter` refuses the repeated id.

    The words come from Faker's lists: another release of Faker may give other words (never other
    digits) for the same key.
    """

    def __init__(self, key: bytes) -> None:
        """Build the vocabulary; `key` has 1 to 64 secret bytes."""
        self._hasher = blake2b(key=key, digest_size=_DIGEST_BYTES)
        self._words = make_vocabulary()
        self._cached_name = lru_cache(_CACHED_PATHS)(self._name)

    def of_session(self, session_id: bytes) -> str:
        """Return the pseudonym of a session, given as UTF-8."""
        return self._session_name(session_id)[0]

    def of_request(self, request_id: bytes, session_id: bytes | None) -> str:
        """Return the pseudonym of a request of that session, both given as UTF-8.

        If the id begins with the session's id and a slash, the pseudonym begins with the session's
        pseudonym and a slash, regardless of the number of segments.
        """
        if session_id is not None and request_id.startswith(session_id + b"/"):
            session = self._session_name(session_id)
            return self._extend(session, request_id[len(session_id) + 1 :])[0]
        return self._name(request_id)[0]

    def _session_name(self, session_id: bytes) -> _Name:
        is_cached = len(session_id) <= _CACHED_PATH_BYTES_MAX
        return self._cached_name(session_id) if is_cached else self._name(session_id)

    def _name(self, path: bytes) -> _Name:
        tenant, slash, rest = path.partition(b"/")
        if slash and len(tenant) <= _CACHED_PATH_BYTES_MAX:
            return self._extend(self._cached_name(tenant), rest, SEGMENTS_MAX - 1)
        return self._extend(_ROOT, path)

    def _extend(self, parent: _Name, path: bytes, segments_max: int = SEGMENTS_MAX) -> _Name:
        """Name the segments of `path` under `parent`."""
        text, digest = parent
        for segment in path.split(b"/", segments_max - 1):
            hasher = self._hasher.copy()
            # The parent's digest has a fixed length, so no two (parent, segment) pairs look the same.
            hasher.update(digest + segment)
            digest = hasher.digest()
            word = self._words[int.from_bytes(digest[:4], "little") % len(self._words)]
            tag = digest[-TAG_BYTES:].hex()
            text = f"{text}/{word}-{tag}" if text else f"{word}-{tag}"
        return text, digest


def make_vocabulary() -> tuple[str, ...]:
    """Return some hundred different first names, surnames and words of lower-case ASCII letters."""
    faker = Faker("en_US", use_weighting=False)
    faker.seed_instance(_VOCABULARY_SEED)
    makers = (faker.first_name, faker.last_name, faker.word)
    drawn = {make().lower() for make in makers for _ in range(_VOCABULARY_DRAWS)}
    return tuple(sorted(word for word in drawn if re.fullmatch("[a-z]+", word)))
