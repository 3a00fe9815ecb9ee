"""Everything a report says, as data: the JSON document of schema `kvreplay.report/1`.

Numbers are numbers, with their unit at the end of their name: tokens, pages, or `us` for virtual
microseconds. docs/report.md says what every key means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from replay.recording.kinds import DECODE_ENDED
from reports.compare.comparison import Comparison, episode_facts
from reports.evidence import Evidence
from reports.parts.base import Check
from reports.parts.counted.part import engine_words
from reports.parts.findings.part import judge_evidence
from reports.parts.latency.measures import PERCENTS, Sorted, groups_of, quantile, rates_of
from reports.parts.lives.part import LIVES
from reports.parts.order import PARTS
from reports.parts.tables.part import requests_of

if TYPE_CHECKING:
    from replay.verdict.findings.finding import Finding
    from replay.verdict.findings.suppressions import Accepted
    from reports.section import Section

REPORT_SCHEMA = "kvreplay.report/1"

#: Rows of any one list; each says how many there are in all.
ROWS_MAX = 10_000


def report_document(
    recordings: Sequence[Evidence],
    sections: Sequence[Section],
    comparison: Comparison | None = None,
    accepted: Accepted | None = None,
) -> dict[str, Any]:
    """The document of a report on these recordings; a section belongs to each.

    `accepted` are the findings that a suppressions file accepts.
    """
    return {
        "schema": REPORT_SCHEMA,
        "kvreplay": version("kvreplay"),
        "recordings": [
            _recording(evidence, section, accepted)
            for evidence, section in zip(recordings, sections, strict=True)
        ],
        "comparison": None if comparison is None else comparison_document(comparison),
    }


def _recording(evidence: Evidence, section: Section, accepted: Accepted | None) -> dict[str, Any]:
    summary, run = evidence.summary, evidence.run
    names = ("verdict", "why", "blame", "growth", "direction")
    lives = section.of(LIVES)
    return {
        "name": evidence.name,
        **{name: summary[name] for name in names},
        "kinds_pages": summary["kinds"],
        "equation": _equation(evidence),
        "final_gap": {
            "tokens": summary["final_gap"]["tokens"],
            "pages": summary["final_gap"]["pages"],
            "pools_tokens": summary["final_gap"]["pools"],
        },
        "engine": {
            "check_fired": summary["engine_check_fired"],
            "message": None if summary["mismatch"] is None else summary["engine_message"],
            "words": engine_words(evidence),
            "died_us": summary["engine_died_us"],
            "died_pool": run["engine"]["died_pool"],
            "died_message": summary["engine_died_message"],
        },
        "reproduce": summary["reproduce"],
        "requests": summary["requests"],
        "faults": {**summary["faults"], "rules": _rules(run)},
        "oracles": summary["oracles"],
        "audits": summary["audits"],
        "virtual_us": summary["virtual_us"],
        "phases": run["phases"],
        "findings": [
            _finding(finding) for finding in judge_evidence(evidence, accepted).matched.findings
        ],
        "episodes": _listed(
            [
                {**(episode_facts(evidence, each) or {}), "pool": each.pool}
                for each in evidence.episodes[:ROWS_MAX]
            ],
            len(evidence.episodes),
        ),
        **_tables(evidence),
        "page_map": _page_map(evidence),
        "latency": _latency(evidence),
        "lives": [] if lives is None else [_plain(life) for life in lives.lives],
        "parts": {part.key: _plain(section.of(part)) for part in PARTS if part.key},
        "checks": [_check(check) for check in section.checks],
        "made": {
            name: run[name]
            for name in ("kvreplay", "trace", "profile", "plan", "swarm", "options", "environment")
        },
    }


def _equation(evidence: Evidence) -> dict[str, Any] | None:
    """Both sides of the equation, in tokens."""
    mismatch = evidence.summary["mismatch"]
    if mismatch is None:
        return None
    parts = ["available", "evictable", "protected"]
    # While requests ran, their pages are part of the sum.
    parts += [] if mismatch["quiet"] else ["live", "in_transfer"]
    return {
        "pool": mismatch["pool"],
        "audit": mismatch["audit"],
        "time_us": mismatch["time_us"],
        "quiet": mismatch["quiet"],
        **{f"{name}_tokens": mismatch[name] for name in parts},
        "accounted_tokens": sum(mismatch[name] for name in parts),
        "total_tokens": mismatch["total"],
        "gap_tokens": mismatch["gap"],
        "gap_pages": mismatch["pages"],
        "page_size_tokens": mismatch["page_size"],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    """A finding as data; its blocks are cut, its sums are of all of them."""
    names = ("category", "kind", "pool", "lasts", "faults", "rules", "blame", "suppressed_by")
    return {
        **{name: _plain(getattr(finding, name)) for name in names},
        "pages": finding.pages,
        "tokens": finding.tokens,
        "requests": len(finding.owners),
        "opened_us": finding.opened_us,
        "closed_us": finding.closed_us,
        "blocks": _listed(
            [_plain(each) for each in finding.blocks[:ROWS_MAX]], len(finding.blocks)
        ),
    }


def _rules(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    journal = run["faults"]["rules"]
    return [{**rule, **journal.get(rule["name"], {})} for rule in run["plan"]["rules"]]


def _tables(evidence: Evidence) -> dict[str, Any]:
    """Rows of the recording's own tables that the page shows, by what they are about."""
    owners, events, requests = (evidence.tables[name] for name in ("owners", "events", "requests"))
    guilty = [] if evidence.worst is None else requests_of(evidence.worst)
    ended = pc.is_in(requests["decode_state"], pa.array(DECODE_ENDED))
    mine = pc.is_in(events["request_id"], pa.array(guilty, pa.string()))
    return {
        "owners": _rows(owners),
        "events_of_worst_owners": _event_rows(events.filter(mine)),
        "faulted_events": _event_rows(events.filter(events["rule"].is_valid())),
        "unfinished_requests": _rows(requests.filter(pc.invert(ended))),
        "wrong_reads": _rows(evidence.tables["contents"]),
    }


def _page_map(evidence: Evidence) -> dict[str, Any] | None:
    """Pages by state at the audit that the map is of; None where the recording has no map."""
    pages = evidence.tables.get("pages")
    if pages is None or not pages.num_rows:
        return None
    sums = pages.group_by("state", use_threads=False).aggregate([("pages", "sum")])
    by_state = zip(sums["state"].to_pylist(), sums["pages_sum"].to_pylist(), strict=True)
    return {
        "pool": pages["pool"][0].as_py(),
        "audit": pages["audit"][0].as_py(),
        "states_pages": dict(sorted(by_state)),
    }


def _latency(evidence: Evidence) -> dict[str, Any]:
    """Quantiles by group in microseconds, and what each phase did, in virtual time."""

    def quantiles(values: Sorted) -> dict[str, Any]:
        named = {f"p{percent}_us": quantile(values, percent) for percent in PERCENTS}
        return {"counted": len(values), **named, "slowest_us": quantile(values, 100)}

    return {
        "groups": [
            {
                "name": group.name,
                "requests": group.requests,
                "finished": group.finished,
                "first_token": quantiles(group.first_token),
                "inter_token": quantiles(group.inter_token),
                "end_to_end": quantiles(group.end_to_end),
            }
            for group in groups_of(evidence)
        ],
        "phases": [
            {
                "phase": rate.name,
                "length_us": rate.length_us,
                "finished": rate.finished,
                "input_tokens": rate.input_tokens,
                "output_tokens": rate.output_tokens,
            }
            for rate in rates_of(evidence)
        ],
    }


def _rows(table: pa.Table) -> dict[str, Any]:
    return _listed(table.slice(0, ROWS_MAX).to_pylist(), table.num_rows)


def _event_rows(table: pa.Table) -> dict[str, Any]:
    """Rows of events.parquet, with outcome and detail as one text besides."""
    from replay.recording.event_results import Result

    rows = table.slice(0, ROWS_MAX).to_pylist()
    return _listed([row | {"result": Result.of_row(row).text} for row in rows], table.num_rows)


def _listed(rows: Sequence[Any], of: int) -> dict[str, Any]:
    return {"shown": len(rows), "of": of, "rows": list(rows)}


def _check(check: Check) -> dict[str, Any]:
    return {name: getattr(check, name) for name in ("claim", "left", "right", "passed")}


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """A comparison as data; episodes and owners in the order of the page."""
    before, after, likeness = comparison.before, comparison.after, comparison.likeness
    matches = [
        {
            "outcome": match.outcome,
            "pool": match.episode.pool,
            "direction": match.episode.direction,
            "before": episode_facts(before, match.before),
            "after": episode_facts(after, match.after),
        }
        for match in comparison.matches[:ROWS_MAX]
    ]
    owners = [{"outcome": owner.outcome, **_plain(owner)} for owner in comparison.owners[:ROWS_MAX]]
    touched = comparison.faults.touched
    return {
        "before": before.name,
        "after": after.name,
        "change": comparison.result.change,
        "sentence": comparison.result.sentence,
        "same_trace": likeness.same_trace,
        "same_plan": likeness.same_plan,
        "warnings": list(likeness.warnings),
        "differences": [_plain(each) for each in likeness.differences],
        "episode_counts": comparison.episode_counts,
        "episodes": _listed(matches, len(comparison.matches)),
        "owner_counts": comparison.owner_counts,
        "owners": _listed(owners, len(comparison.owners)),
        "rules": [
            {"rule": each.rule, "before": each.before, "after": each.after}
            for each in comparison.faults.rules
        ],
        "events_touched": None
        if touched is None
        else dict(zip(("both", "only_before", "only_after"), touched, strict=True)),
        "requests": _fates(comparison),
        "checks": [_check(check) for check in comparison.checks],
    }


def _fates(comparison: Comparison) -> dict[str, Any] | None:
    fates = comparison.fates
    if fates is None:
        return None
    return {
        "in_both": fates.requests,
        "only_before": fates.only_before,
        "only_after": fates.only_after,
        "changes": [
            {"before": before, "after": after, "requests": count}
            for (before, after), count in fates.changes.items()
        ],
        "changed": _listed([_plain(each) for each in fates.changed[:ROWS_MAX]], len(fates.changed)),
    }


def _plain(value: Any) -> Any:
    """A part of the page as JSON has it, without drawings and the values behind its quantiles."""
    if hasattr(value, "__html__") or isinstance(value, np.ndarray):
        return None
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
