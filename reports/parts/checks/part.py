"""Do the numbers of a recording agree with each other? Checked when the page is made, shown on it.

Every check compares two numbers that were written by different parts of the replay, so that a
recording somebody edited, or a defect of the replay, shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from replay.recording.kinds import Outcome
from replay.verdict.blame import episode_rows
from reports.evidence import Evidence
from reports.parts.base import Check, Part, equal
from reports.parts.faults.rule_events import rule_events
from reports.words import number


def reconcile(evidence: Evidence) -> tuple[Check, ...]:
    """Every check of a recording, in the order in which the page tells its story."""
    checks = [_summary_agrees(evidence)]
    if evidence.summary["mismatch"] is not None:
        checks.append(_mismatch_balances(evidence))
    checks += [
        _audits_balance(evidence),
        _owners_explain_audits(evidence),
        _owners_explain_end(evidence),
        _episodes_agree(evidence),
        _events_balance(evidence),
        _faults_landed(evidence),
        _requests_counted(evidence),
    ]
    return tuple(checks)


def _none_broken(claim: str, broken: int, of: int) -> Check:
    return Check(claim, f"{number(of - broken)} agree", f"{number(of)} in all", broken == 0)


def _summary_agrees(evidence: Evidence) -> Check:
    """The stored verdict is the one that its tables still give."""
    now = evidence.summary
    differing = [key for key, value in now.items() if evidence.saved_summary.get(key) != value]
    return Check(
        "summary.json = a new verdict from the tables",
        f"differs in {', '.join(differing)}" if differing else f"{len(now)} keys",
        f"{len(now)} keys",
        not differing,
    )


def _mismatch_balances(evidence: Evidence) -> Check:
    mismatch = evidence.summary["mismatch"]
    counted = mismatch["available"] + mismatch["evictable"] + mismatch["protected"]
    if mismatch["quiet"]:
        left = mismatch["total"] - counted
        return equal(
            "the mismatch, total \N{MINUS SIGN} (available + evictable + protected) = gap, in tokens",
            left,
            mismatch["gap"],
        )
    row = evidence.rows("audits", "audit", mismatch["audit"]).to_pylist()[0]
    left = mismatch["total"] - counted - row["live"] - row["in_transfer"]
    return equal(
        "the mismatch (requests were running), total \N{MINUS SIGN} (available + evictable + "
        "protected + live + in transfer) = gap, in tokens",
        left,
        mismatch["gap"],
    )


def _audits_balance(evidence: Evidence) -> Check:
    """Every token of every pool is in exactly one column of every audit."""
    audits = evidence.tables["audits"]
    broken = 0
    for pool in evidence.run["pools"]:
        rows = evidence.rows("audits", "pool", pool["pool"])
        parts = ("available", "evictable", "protected", "live", "in_transfer", "gap")
        columns = [rows[name].to_numpy() for name in parts]
        broken += int(np.count_nonzero(sum(columns) != pool["total_tokens"]))
    known = pc.is_in(audits["pool"], pa.array([pool["pool"] for pool in evidence.run["pools"]]))
    broken += audits.num_rows - (pc.sum(known).as_py() or 0)
    return _none_broken(
        "in every audit, available + evictable + protected + live + in transfer + gap = total",
        broken,
        audits.num_rows,
    )


def _owners_explain_audits(evidence: Evidence) -> Check:
    """At every audit the open owners' pages add up to the gap."""
    audits, broken = evidence.tables["audits"], 0
    for pool in pc.unique(audits["pool"]).to_pylist():
        rows = evidence.rows("audits", "pool", pool)
        mine = evidence.rows("owners", "pool", pool)
        owned = _owned_pages(rows["audit"].to_numpy(), mine) * evidence.page_size
        broken += int(np.count_nonzero(owned != rows["gap"].to_numpy()))
    return _none_broken(
        "in every audit, the owners' pages \N{MULTIPLICATION SIGN} page size = gap",
        broken,
        audits.num_rows,
    )


def _owned_pages(audit: npt.NDArray[np.int64], owners: Any) -> npt.NDArray[np.int64]:
    """Pages in the gap at each audit, from the stays: one joins at its opening, leaves at its close."""
    pages = owners["pages"].to_numpy()
    closed = owners["closed_audit"]
    left = closed.is_valid().to_numpy()
    at = np.concatenate((owners["opened_audit"].to_numpy(), closed.drop_null().to_numpy()))
    change = np.concatenate((pages, -pages[left]))
    order = np.argsort(at, kind="stable")
    sums = np.concatenate((np.zeros(1, np.int64), np.cumsum(change[order])))
    owned: npt.NDArray[np.int64] = sums[np.searchsorted(at[order], audit, side="right")]
    return owned


def _owners_explain_end(evidence: Evidence) -> Check:
    """What is still open belongs to somebody, pool by pool."""
    owners, audits = evidence.tables["owners"], evidence.tables["audits"]
    still_open = owners.filter(owners["closed_audit"].is_null())
    owned = _last_by_pool(still_open, "pages", "sum")
    owned = {pool: pages * evidence.page_size for pool, pages in owned.items() if pages}
    gaps = {pool: gap for pool, gap in _last_by_pool(audits, "gap", "last").items() if gap}
    return Check(
        "at the end, pool by pool, the open owners' pages \N{MULTIPLICATION SIGN} page size = gap, "
        "in tokens",
        number(sum(abs(tokens) for tokens in owned.values())),
        number(sum(abs(gap) for gap in gaps.values())),
        owned == gaps,
    )


def _last_by_pool(table: Any, column: str, how: str) -> dict[str, int]:
    found = table.group_by("pool", use_threads=False).aggregate([(column, how)])
    names, values = found["pool"].to_pylist(), found[f"{column}_{how}"].to_pylist()
    return dict(zip(names, values, strict=True))


def _episodes_agree(evidence: Evidence) -> Check:
    """The stored episodes are those that the audits, owners and events still give."""
    stored = evidence.tables["episodes"].to_pylist()
    anew = episode_rows(evidence.run, evidence.episodes)
    same = sum(one == other for one, other in zip(stored, anew, strict=False))
    return Check(
        "episodes.parquet = a new verdict from the tables",
        f"{number(same)} of {number(len(stored))} agree",
        f"{number(len(anew))} in all",
        same == len(stored) == len(anew),
    )


def _events_balance(evidence: Evidence) -> Check:
    """Events are numbered from 0, so the highest number says how many were sent."""
    events = evidence.tables["events"]
    sent = (pc.max(events["event"]).as_py() + 1) if events.num_rows else 0
    lost = pc.sum(pc.equal(events["outcome"], Outcome.LOST.value)).as_py() or 0
    copies = pc.sum(pc.greater(events["copy"], 0)).as_py() or 0
    delivered = pc.sum(events["delivered_us"].is_valid()).as_py() or 0
    late = events.num_rows - lost - delivered
    return Check(
        "deliveries = events sent \N{MINUS SIGN} dropped + duplicated copies "
        "\N{MINUS SIGN} undelivered at the end",
        number(delivered),
        f"{number(sent)} \N{MINUS SIGN} {number(lost)} + {number(copies)} "
        f"\N{MINUS SIGN} {number(late)} = {number(sent - lost + copies - late)}",
        delivered == sent - lost + copies - late,
    )


def _faults_landed(evidence: Evidence) -> Check:
    """The events that rules touched are the faults that the injector journalled."""
    names = [rule["name"] for rule in evidence.run["plan"]["rules"]]
    return equal(
        "faults seen in the events = faults landed in the injector's journal",
        sum(rule_events(evidence.tables["events"], names).landed.values()),
        evidence.run["faults"]["totals"]["landed"],
    )


def _requests_counted(evidence: Evidence) -> Check:
    total = evidence.summary["requests"]["total"]
    expected = evidence.run["trace"]["requests"]
    claim = "requests recorded = requests of the trace"
    if evidence.run["stopped_early"]:
        return Check(claim + " (stopped early)", number(total), number(expected), total <= expected)
    return equal(claim, total, expected)


#: Its template shows all checks of the section: these, and then those of the other parts.
CHECKS = Part(
    "checks", lambda context: reconcile(context.evidence), lambda _, made: made, link="Checks"
)
