"""From records, in the order of the log, to a diagnosis at any moment: bounded state, no input.

record --> series of its rank and pool (checks, loads), transfers of its server, crashes
diagnosis() --> one assessment each --> the worst is the verdict
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TypeVar

from replay.diagnosis.diagnosis import Diagnosis, SeriesVerdict
from replay.diagnosis.judging.assessment import Assessment, DiagnosisKind, Weight, unclear
from replay.diagnosis.judging.bounded_history import BoundedHistory
from replay.diagnosis.judging.checks import judge_checks
from replay.diagnosis.judging.combine import combine_checks_and_loads, doubt_untagged, follow_tokens
from replay.diagnosis.judging.crashes import CrashWatch, judge_crashes
from replay.diagnosis.judging.loads import judge_loads, silent_log
from replay.diagnosis.judging.next_steps import (
    reproduce_line,
    steps_for_transfers,
    steps_without_lines,
)
from replay.diagnosis.judging.series import Series, SeriesKey, dp_rank
from replay.diagnosis.judging.transfers import ENDED, TransferWatch, judge_transfers
from replay.diagnosis.reading.sources import family_of
from replay.server_lines.records import Crash, Load, Observation, Place, Record, Transfer

Shown = TypeVar("Shown", Observation, Transfer, Crash)

#: No intact log has more series; ranks beyond that are put together.
_SERIES_MAX = 4096


class Judge:
    """Takes records and says what they mean so far."""

    def __init__(self) -> None:
        self._series: dict[SeriesKey, Series] = {}
        #: The series of one rank, whichever pool.
        self._of_rank: dict[tuple[str, str, str], list[Series]] = {}
        #: By server, where ranks of workers and of engines differ.
        self._transfers: dict[tuple[str, str], TransferWatch] = {}
        self._crashes: dict[tuple[str, str], CrashWatch] = {}
        self._order: dict[str, int] = {}
        #: Logs that are to be read, whether or not one of their lines is known.
        self._given: list[str] = []
        #: How many were taken.
        self.records = 0

    def expect(self, source: str) -> None:
        """A log is going to be read: without a known line in it, its server is not known to be well."""
        self._given.append(family_of(source))

    def add(self, record: Record) -> None:
        """Take the next record of its log."""
        place = record.place
        self.records += 1
        self._order.setdefault(place.source, len(self._order))
        if isinstance(record, Load):
            self._series_of(place, record.pool).add_load(record)
            watch = self._transfers.get(_server(place))
            if watch is not None:
                watch.note_load(record)
            crash = self._crashes.get(_server(place))
            if crash is not None:
                crash.note_life()
        elif isinstance(record, Observation):
            self._series_of(place, record.pool).add_observation(record)
        elif isinstance(record, Transfer):
            self._transfers_of(place).add(record)
            if record.trouble in ENDED:
                for series in self._series_at(place):
                    series.loads.floor.forget_levels()
        else:
            self._crash(record)

    def add_all(self, records: Iterable[Record]) -> None:
        """Take many."""
        for record in records:
            self.add(record)

    def diagnosis(
        self, lines_read: int = 0, known_lines: int = 0, problems: tuple[str, ...] = ()
    ) -> Diagnosis:
        """What the records so far mean."""
        verdicts = self._verdicts()
        worst = verdicts[0] if verdicts else self._without_verdicts(lines_read)
        observations = [each.observations for each in self._series.values()]
        transfers = [each.kept for each in self._transfers.values()]
        crashes = [each.kept for each in self._crashes.values()]
        return Diagnosis(
            engine=worst.engine,
            worst=worst.assessment,
            reproduce=reproduce_line(worst.assessment, worst.engine),
            same_gap_ranks=_same_gap(worst, verdicts),
            series=tuple(verdicts),
            observations=self._in_order(observations),
            observations_total=sum(each.total for each in observations),
            transfers=self._in_order(transfers),
            transfers_total=sum(each.total for each in transfers),
            crashes=self._in_order(crashes),
            crashes_total=sum(each.total for each in crashes),
            lines_read=lines_read,
            known_lines=known_lines,
            problems=problems,
        )

    def _series_of(self, place: Place, pool: str) -> Series:
        server, instance = _server(place)
        rank = place.rank if len(self._series) < _SERIES_MAX else "(other ranks)"
        key = SeriesKey(place.engine, server, instance, rank, pool)
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = Series(key)
            self._of_rank.setdefault((server, instance, rank), []).append(found)
        return found

    def _transfers_of(self, place: Place) -> TransferWatch:
        return self._transfers.setdefault(_server(place), TransferWatch(place.engine))

    def _crash(self, crash: Crash) -> None:
        server, instance = _server(crash.place)
        self._crashes.setdefault((server, instance), CrashWatch(crash.place.engine)).add(crash)
        for series in self._series_at(crash.place):
            series.die()

    def _series_at(self, place: Place) -> list[Series]:
        """The series of the rank that a line is about; of its whole server where it says none."""
        server = _server(place)
        return [
            series
            for (other, instance, rank), found in self._of_rank.items()
            if (other, instance) == server and place.rank in ("", rank)
            for series in found
        ]

    def _verdicts(self) -> list[SeriesVerdict]:
        """One for each series and each server's transfers and crashes, the worst first."""
        verdicts = []
        for series in self._series.values():
            checks, loads = judge_checks(series), judge_loads(series)
            assessment = combine_checks_and_loads(series, checks, loads)
            if assessment is not None:
                count, lines = series.observations.total, series.loads_total
                verdicts.append(_verdict(series.key, assessment, count, lines))
        verdicts = doubt_untagged(follow_tokens(verdicts))
        for (server, instance), watch in self._transfers.items():
            found = judge_transfers(watch, self._well_again(server, instance, watch, verdicts))
            if found is not None:
                key = SeriesKey(watch.engine, server, instance, "", "")
                verdicts.append(_verdict(key, found))
        verdicts += self._silent(verdicts)
        for (server, instance), crashed in self._crashes.items():
            found = judge_crashes(crashed)
            if found is not None:
                key = SeriesKey(crashed.engine, server, instance, "", "")
                verdicts.append(_verdict(key, found))
        return sorted(verdicts, key=_badness)

    def _silent(self, verdicts: list[SeriesVerdict]) -> list[SeriesVerdict]:
        """Logs without a recognised line, given together with others that have some."""
        spoke = {each.server for each in verdicts}
        if not spoke:
            return []
        spoke |= {server for watches in (self._transfers, self._crashes) for server, _ in watches}
        engine = verdicts[0].engine
        return [
            _verdict(SeriesKey(engine, server, "", "", ""), silent_log(server, engine))
            for server in dict.fromkeys(self._given)
            if server not in spoke
        ]

    def _well_again(
        self, server: str, instance: str, watch: TransferWatch, verdicts: list[SeriesVerdict]
    ) -> Place | None:
        """Where a server was last seen without transfers after its last trouble, if all is well."""
        last = watch.last_trouble
        if last is None:
            return None
        here = [each for each in verdicts if (each.server, each.instance) == (server, instance)]
        if any(each.assessment.weight > Weight.TRANSIENT for each in here):
            return None
        places = [
            place
            for (other, its_instance, _), found in self._of_rank.items()
            if (other, its_instance) == (server, instance)
            for series in found
            for place in (series.loads.idle_at, series.loads.floor.last_zero)
            if place is not None and self._where(place) > self._where(last.place)
        ]
        return max(places, key=self._where, default=None)

    def _in_order(self, kept: Iterable[BoundedHistory[Shown]]) -> tuple[Shown, ...]:
        """The kept records of several series, in the order of the logs."""
        items = [item for each in kept for item in each.items()]
        return tuple(sorted(items, key=lambda item: self._where(item.place)))

    def _where(self, place: Place) -> tuple[int, int]:
        return (self._order.get(place.source, 0), place.line)

    def _without_verdicts(self, lines_read: int) -> SeriesVerdict:
        """Of a log without a known line, or with holds alone, which are as they should be."""
        held = next(iter(self._transfers.values()), None)
        kind: DiagnosisKind
        if held is None:
            engine, kind, steps = "unknown", "none", steps_without_lines()
            why = (
                f"none of {lines_read} lines was recognised; recognised are "
                "accounting checks, status lines and failed transfers of SGLang, sglang-jax, vLLM, "
                "vllm-ascend, TensorRT-LLM and LMCache"
            )
        else:
            engine, kind, steps = held.engine, "held", steps_for_transfers(held.engine)
            why = (
                f"{engine}: only pages held until the other side has read them; these lines do "
                "not show whether they were freed"
            )
        key = SeriesKey(engine, "", "", "", "")
        return _verdict(key, unclear(kind, why, steps))


def _server(place: Place) -> tuple[str, str]:
    return (family_of(place.source), place.instance)


def _verdict(
    key: SeriesKey, assessment: Assessment, observations: int = 0, loads: int = 0
) -> SeriesVerdict:
    return SeriesVerdict(
        **asdict(key), observations=observations, loads=loads, assessment=assessment
    )


def _badness(verdict: SeriesVerdict) -> tuple[int, int, int, str, str, str, str]:
    """The worst first; among equals accounting before the rest, the widest gap, then by name."""
    assessment = verdict.assessment
    return (
        -assessment.weight,
        -int(assessment.observation is not None and assessment.observation.gap != 0),
        -abs(assessment.observation.gap if assessment.observation else assessment.gap_tokens),
        verdict.server,
        verdict.instance,
        verdict.rank,
        verdict.pool,
    )


def _same_gap(worst: SeriesVerdict, verdicts: list[SeriesVerdict]) -> tuple[str, ...]:
    """Ranks of the same server and DP rank that print the same numbers: they share one pool's fate."""
    shown = worst.assessment.observation
    if shown is None:
        return ()
    return tuple(
        other.rank
        for other in verdicts
        if other is not worst
        and (other.server, other.instance, other.pool) == (worst.server, worst.instance, worst.pool)
        and dp_rank(other.rank) == dp_rank(worst.rank)
        and other.assessment.observation is not None
        and other.assessment.observation.gap == shown.gap
        and other.assessment.observation.total == shown.total
    )
