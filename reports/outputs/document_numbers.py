"""What the page draws or puts into words, as numbers: whose pages they were, and how fast requests were."""

from __future__ import annotations

from typing import Any

from reports.evidence import Evidence


def page_map_document(evidence: Evidence) -> dict[str, Any] | None:
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


def latency_document(evidence: Evidence) -> dict[str, Any]:
    """Quantiles by group in microseconds, and what each phase did, in virtual time."""
    from reports.latency.measures import PERCENTS, Sorted, groups_of, quantile, rates_of

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
