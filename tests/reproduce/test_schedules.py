"""Random schedules against the hardened pair, and against every known bug.

`make schedules` runs many more of them than `make test` does.
"""

import os
import tempfile
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from schedule_runs import fitted, run_schedule

from replay.profiles.defects import all_defects, with_defects
from replay.reproduce.schedules import draw_schedule
from replay.verdict.rules import objections

SCHEDULES = int(os.environ.get("KVREPLAY_SCHEDULES", "100"))
#: Schedules of one test, so that workers share them and a failure names few.
BATCH = 20
#: Within so many seeds every bug must show.
SEEDS_MAX = 200


def assert_conserved(recording: Path) -> None:
    """Every audit adds up, pool by pool, and no pool is ever over-free."""
    audits = pq.read_table(recording / "audits.parquet")
    columns = ("available", "evictable", "protected", "live", "in_transfer", "gap")
    sums: dict[str, set[int]] = {}
    rows = [audits[column].to_pylist() for column in columns]
    for pool, *numbers in zip(pc.cast(audits["pool"], "string").to_pylist(), *rows, strict=True):
        sums.setdefault(pool, set()).add(sum(numbers))
        assert min(numbers) >= 0
    assert all(len(totals) == 1 for totals in sums.values()), sums


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SCHEDULES, BATCH))
def test_the_hardened_pair_survives_every_schedule(first):
    for seed in range(first, min(first + BATCH, SCHEDULES)):
        with tempfile.TemporaryDirectory() as directory:
            recording = Path(directory) / "recording"
            summary = run_schedule(seed, every_step=True, keep=recording)
            assert objections(summary) == [], f"seed {seed}: {summary['why']}"
            assert summary["verdict"] != "persistent", f"seed {seed}: {summary['why']}"
            assert_conserved(recording)


@pytest.mark.slow
@pytest.mark.parametrize("defect", sorted(all_defects()))
def test_every_bug_is_caught_by_schedules_that_do_not_know_of_it(defect):
    for seed in range(SEEDS_MAX):
        if objections(run_schedule(seed, (defect,))):
            return
    pytest.fail(f"no oracle saw {defect} in {SEEDS_MAX} schedules")


def test_a_schedule_is_its_seed():
    assert repr(draw_schedule(7)) == repr(draw_schedule(7))
    assert repr(draw_schedule(7)) != repr(draw_schedule(8))


def test_schedules_leave_alone_what_bugs_change():
    """A bug that a schedule switched off again would never be caught for what it is."""
    for seed in range(20):
        schedule = draw_schedule(seed)
        for defect in all_defects().values():
            profile = with_defects(fitted(schedule), [defect.name])
            for field, value in defect.changes.items():
                assert getattr(profile, field) == value
            switches = set(defect.changes) - {
                "completion_timeout_us",
                "acknowledgement_timeout_us",
            }
            assert not switches & set(schedule.deployment)


@pytest.mark.slow
def test_schedules_try_what_they_should(tmp_path):
    """Aborts, faults and topologies all come up, and most faults land."""
    schedules = [draw_schedule(seed) for seed in range(SEEDS_MAX)]
    kinds = {rule.fault for schedule in schedules for rule in schedule.plan.rules}
    assert kinds == {"drop", "delay", "duplicate", "fail", "misroute"}
    aborted = [any(row.cancel_us for row in schedule.requests) for schedule in schedules]
    assert 0.3 < sum(aborted) / SEEDS_MAX < 0.9
    assert {schedule.deployment["decode_allocates"] for schedule in schedules} == {
        "before-prefill",
        "after-prefill",
    }
    assert len({schedule.deployment["decode_tp"] for schedule in schedules}) >= 3
    landed = [run_schedule(seed)["faults"]["landed"] for seed in range(40)]
    assert sum(count > 0 for count in landed) > 20
