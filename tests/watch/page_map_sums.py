"""What pages.parquet adds up to, beside what the audit that it is of says."""

from collections import Counter

#: States of pages that a request has in the gap.
IN_GAP = ("stalled", "cache-held", "departed")


def read_map(recording):
    """The rows of a recording's map in page order, after checking that they leave no page out."""
    rows = recording.table("pages").to_pylist()
    next_page = 1
    for row in rows:
        assert row["first_page"] == next_page
        assert row["pages"] > 0
        next_page += row["pages"]
    return rows


def assert_map_is_of_the_mismatch(recording, summary):
    """The map is there when there is a gap, and of the audit that the verdict shows."""
    rows, mismatch = read_map(recording), summary["mismatch"]
    if mismatch is None:
        assert rows == []
        return
    assert {(row["pool"], row["audit"]) for row in rows} == {(mismatch["pool"], mismatch["audit"])}


def assert_map_adds_up(recording):
    """Every column of the audit is the sum of its pages; returns the pages of each state."""
    rows = read_map(recording)
    if not rows:
        return Counter()
    size, pool, number = recording.run["profile"]["page_size"], rows[0]["pool"], rows[0]["audit"]
    audit = {
        name: value // size
        for name, value in recording.audit_rows([number])[number].items()
        if name in ("available", "evictable", "protected", "live", "in_transfer")
    }
    stays = [
        stay
        for stay in recording.table("owners").to_pylist()
        if stay["pool"] == pool
        and stay["opened_audit"] <= number
        and (stay["closed_audit"] is None or stay["closed_audit"] > number)
    ]
    states = Counter()
    for row in rows:
        states[row["state"]] += row["pages"]
    totals = {each["pool"]: each["total_tokens"] // size for each in recording.run["pools"]}
    assert states.total() == totals[pool]
    drift = sum(stay["pages"] for stay in stays if stay["share"] == "counter-drift")
    cached = audit["evictable"] + audit["protected"] + drift
    in_gap = {
        (stay["request_id"], stay["share"]): stay["pages"]
        for stay in stays
        if stay["share"] in IN_GAP
    }
    assert sum(row["pages"] * row["listed"] for row in rows) == audit["available"]
    held = audit["live"] + audit["in_transfer"] + cached + sum(in_gap.values())
    assert sum(row["pages"] * row["holders"] for row in rows) == held
    if any(stay["share"] == "over-freed" for stay in stays):
        return states
    assert states["free"] == audit["available"]
    assert states["evictable"] + states["protected"] == cached
    assert states["running"] == audit["live"]
    assert states["transfer"] == audit["in_transfer"]
    owned = Counter()
    for row in rows:
        if row["state"] in IN_GAP:
            owned[row["request_id"], row["state"]] += row["pages"]
    assert owned == in_gap
    return states
