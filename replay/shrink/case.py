"""A case: everything that one replay depends on, as a value that can be made smaller.

A case comes from a recording (`load_case`) or is drawn by a hunt.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from faults.kinds.registry import plain_rule
from faults.plan_text import rule_lines
from faults.rule import FaultPlan, FaultRule
from replay.errors import RecordingError
from replay.profiles.catalogue import builtin_profiles, find_profile
from replay.profiles.defects import with_defects
from replay.profiles.profile import EngineProfile
from replay.recording.reader import Recording
from replay.run.origin import replayable
from replay.run.replay_once import ReplayRequest
from replay.run.session import SessionOptions
from traces.dataset import Trace
from traces.schema import TraceRequest

#: What shrunk traces say of where they come from.
SOURCE = "kvreplay shrink"


@dataclass(frozen=True, slots=True)
class RowsTrace(Trace):
    """A trace that is in memory only."""

    rows: tuple[TraceRequest, ...]

    def sha256(self) -> str:
        """Nothing: there is no file."""
        return ""

    def iter_requests(self) -> Iterator[TraceRequest]:
        """Every request in order of arrival."""
        return iter(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A trace, a profile, a plan and options, in memory."""

    requests: tuple[TraceRequest, ...]
    block_size: int | None
    #: Name of a built-in profile, and the bugs that were switched on beside its own.
    profile: str
    defects: tuple[str, ...]
    #: Fields that differ from that profile with those bugs, by name.
    settings: tuple[tuple[str, object], ...]
    rules: tuple[FaultRule, ...]
    options: SessionOptions

    def engine(self) -> EngineProfile:
        """The profile with bugs and settings.

        Raises:
            ProfileError: the settings do not fit together.
        """
        return dataclasses.replace(self.base(), **dict(self.settings))  # type: ignore[arg-type]

    def base(self) -> EngineProfile:
        """The profile with bugs and without settings."""
        return _base(self.profile, self.defects)

    def with_engine(self, engine: EngineProfile) -> Case:
        """The case on an engine that differs from its own in fields only."""
        return dataclasses.replace(self, settings=settings_of(engine, self.base()))

    def with_fields(self, **fields: object) -> Case:
        """The case with some profile fields set.

        Raises:
            ProfileError: they do not fit together.
        """
        return self.with_engine(dataclasses.replace(self.engine(), **fields))  # type: ignore[arg-type]

    def without_defects(self, names: Sequence[str]) -> Case:
        """The case on the same deployment without some of the bugs switched on beside it."""
        changed = {field for name in names for field in _fields_of(name)}
        settings = tuple(pair for pair in self.settings if pair[0] not in changed)
        defects = tuple(name for name in self.defects if name not in names)
        return dataclasses.replace(self, defects=defects, settings=settings)

    def with_requests(self, requests: Iterable[TraceRequest]) -> Case:
        """The case with other requests; rules about requests that are gone go with them."""
        rows = tuple(requests)
        left = {row.request_id for row in rows}
        rules = []
        for rule in self.rules:
            if rule.request_ids is None or rule.request_ids <= left:
                rules.append(rule)
            elif ids := rule.request_ids & left:
                rules.append(dataclasses.replace(rule, request_ids=ids))
        return dataclasses.replace(self, requests=rows, rules=tuple(rules))

    def with_rules(self, rules: Iterable[FaultRule]) -> Case:
        """The case with other rules."""
        return dataclasses.replace(self, rules=tuple(rules))

    def with_options(self, **options: object) -> Case:
        """The case with some options changed."""
        changed = dataclasses.replace(self.options, **options)  # type: ignore[arg-type]
        return dataclasses.replace(self, options=changed)

    def key(self) -> str:
        """SHA-256 of all of it: equal for cases that replay alike."""
        digest = hashlib.sha256()
        head = (self.block_size, self.profile, self.defects, self.settings, self.options)
        digest.update(repr(head).encode())
        for rule in self.rules:
            digest.update("\n".join(rule_lines(rule)).encode())
        for row in self.requests:
            hashes = b"" if row.block_hashes is None else row.block_hashes.tobytes()
            plain = (row.request_id, row.arrival_us, row.input_tokens, row.output_tokens)
            more = (row.session_id, row.cancel_us, row.priority, len(hashes))
            digest.update(repr((plain, more)).encode() + hashes)
        return digest.hexdigest()

    def to_request(self) -> ReplayRequest:
        """What a replay takes.

        Raises:
            ProfileError: the settings do not fit together.
        """
        nowhere = Path("memory")
        return ReplayRequest(
            trace=RowsTrace(nowhere, len(self.requests), self.block_size, SOURCE, self.requests),
            profile=self.engine(),
            plan=FaultPlan(self.rules),
            options=self.options,
            device="cpu",
        )


def settings_of(engine: EngineProfile, base: EngineProfile) -> tuple[tuple[str, object], ...]:
    """The fields in which an engine differs from the profile that it is made from."""
    return tuple(
        (field.name, getattr(engine, field.name))
        for field in dataclasses.fields(engine)
        if field.name != "defects" and getattr(engine, field.name) != getattr(base, field.name)
    )


@lru_cache(maxsize=64)
def _base(profile: str, defects: tuple[str, ...]) -> EngineProfile:
    """Found again for every candidate, and always the same."""
    return with_defects(find_profile(profile), defects)


def _fields_of(defect: str) -> Iterable[str]:
    from replay.profiles.defects import all_defects

    return all_defects()[defect].changes


def load_case(recording: Recording, trace: str | None = None) -> Case:
    """The case of a recording; what a swarm drew is in it like anything else.

    Args:
        recording: of a replay with a built-in profile.
        trace: where its trace is now, if not where it was.

    Raises:
        RecordingError: the recording is damaged, its trace is gone or another one, or it is of a
            replay that no command line repeats.
        TraceError: the trace cannot be read.
    """
    with replayable(recording, None if trace is None else Path(trace), "cpu") as request:
        name, defects, settings = _how_to_say(recording, request.profile)
        return Case(
            requests=tuple(request.trace.iter_requests()),
            block_size=request.trace.block_size,
            profile=name,
            defects=defects,
            settings=settings,
            rules=tuple(plain_rule(rule) for rule in request.plan.rules),
            options=request.options,
        )


def _how_to_say(
    recording: Recording, engine: EngineProfile
) -> tuple[str, tuple[str, ...], tuple[tuple[str, object], ...]]:
    """The name of a built-in profile, the bugs switched on beside its own, and what else differs."""
    from replay.profiles.defects import with_defects

    known = builtin_profiles()
    if engine.name not in known:
        raise RecordingError(
            f"{recording.directory}: the profile {engine.name!r} is not built in, so that no "
            "command line repeats it"
        )
    base = known[engine.name]
    defects = tuple(each for each in engine.defects if each not in base.defects)
    return engine.name, defects, settings_of(engine, with_defects(base, defects))
