"""Recordings written anew in other ways that mean the same."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq

from replay.recording.tables import TABLES

#: What names an audit by its number and so changes with it.
AUDIT_NUMBERS = ("opened_audit", "closed_audit", "widest_audit", "quiet_audit", "healed_audit")


def shuffle(source, target, random_, rows_per_group):
    """Copy a recording with the rows of every table in another order, in row groups of that size."""
    shutil.copytree(source, target)
    for name in TABLES:
        table = pq.read_table(source / f"{name}.parquet")
        order = list(range(table.num_rows))
        random_.shuffle(order)
        pq.write_table(
            table.take(pa.array(order, pa.int64())),
            target / f"{name}.parquet",
            row_group_size=rows_per_group,
        )


def renumber_equal_times(source, target, random_):
    """Copy a recording as if pools audited at the same moment had been audited in another order."""
    shutil.copytree(source, target)
    audits = pq.read_table(source / "audits.parquet").to_pylist()
    numbers = {}
    for moment in _runs(audits, lambda row: (row["time_us"], row["phase"])):
        free = sorted(row["audit"] for row in moment)
        pools = [row["pool"] for row in moment]
        random_.shuffle(pools)
        waiting = {pool: [row for row in moment if row["pool"] == pool] for pool in pools}
        for number, pool in zip(free, pools, strict=True):
            numbers[waiting[pool].pop(0)["audit"]] = number
    for row in audits:
        row["audit"] = numbers[row["audit"]]
    audits.sort(key=lambda row: row["audit"])
    _write(target, "audits", audits)
    owners = pq.read_table(source / "owners.parquet").to_pylist()
    for row in owners:
        for name in ("opened_audit", "closed_audit"):
            row[name] = None if row[name] is None else numbers[row[name]]
    _write(target, "owners", owners)


def thin(source, target, random_, share):
    """Copy a recording without a share of the audits that open, close or widen no gap."""
    shutil.copytree(source, target)
    table = pq.read_table(source / "audits.parquet")
    needed = _needed(table.to_pylist())
    owners = pq.read_table(source / "owners.parquet")
    for name in ("opened_audit", "closed_audit"):
        needed |= set(owners[name].to_pylist())
    keep = [number in needed or random_.random() > share for number in table["audit"].to_pylist()]
    pq.write_table(table.filter(pa.array(keep)), target / "audits.parquet")


def thicken(source, target, random_):
    """Copy a recording in which audits are repeated at random: as if one had looked more often."""
    shutil.copytree(source, target)
    audits = pq.read_table(source / "audits.parquet").to_pylist()
    numbers, rows = {}, []
    for row in audits:
        numbers[row["audit"]] = len(rows)
        for _ in range(random_.choice((1, 1, 2, 4))):
            rows.append(row | {"audit": len(rows)})
    _write(target, "audits", rows)
    owners = pq.read_table(source / "owners.parquet").to_pylist()
    for row in owners:
        for name in ("opened_audit", "closed_audit"):
            row[name] = None if row[name] is None else numbers[row[name]]
    _write(target, "owners", owners)


def _needed(audits):
    """Audits without which the episodes would be others."""
    needed, last, widest = set(), {}, {}
    for row in audits:
        before = last.get(row["pool"])
        gap_before = 0 if before is None else before["gap"]
        if row["gap"] and not gap_before:
            widest[row["pool"]] = {}
            needed.add(row["audit"])
        if bool(row["gap"]) != bool(gap_before):
            needed.add(row["audit"])
        if row["gap"]:
            found = widest[row["pool"]]
            for quiet in {False, row["quiet"]}:
                if abs(row["gap"]) > abs(found.get(quiet, (0, 0))[1]):
                    found[quiet] = (row["audit"], row["gap"])
                    needed.add(row["audit"])
        if before is not None and before["phase"] != row["phase"]:
            needed.add(before["audit"])
        last[row["pool"]] = row
    return needed | {row["audit"] for row in last.values()}


def _runs(rows, key):
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or key(rows[end]) != key(rows[start]):
            yield rows[start:end]
            start = end


def _write(directory, name, rows):
    pq.write_table(pa.Table.from_pylist(rows, TABLES[name]), directory / f"{name}.parquet")
