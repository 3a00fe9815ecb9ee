"""The verdict is a pure function of the recording."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from replay.errors import RecordingError
from replay.recording.reader import Recording
from replay.verdict.episodes import Episode, kind_of, worst_episode
from replay.verdict.judge import judge


@pytest.fixture
def recording(make_trace, kvreplay, tmp_path):
    out = tmp_path / "r"
    faults = ("--drop", "0.05", "--delay", "0.1:3000", "--seed", "2")
    kvreplay("run", make_trace(), "--profile", "sglang-0.4.6.post4", *faults, "--out", out)
    return out


def test_it_gives_the_summary_that_was_written(recording):
    opened = Recording.open(recording)
    summary = opened.summary()
    del summary["timing"], summary["recording_sha256"]
    assert judge(opened).summary == summary


@pytest.mark.slow
@pytest.mark.parametrize("rows_per_group", [1, 7, 100_000])
def test_it_does_not_depend_on_row_groups_or_row_order(recording, tmp_path, rows_per_group):
    before = judge(Recording.open(recording))
    shuffled = tmp_path / "shuffled"
    shutil.copytree(recording, shuffled)
    for name in ("audits", "events", "owners", "requests"):
        table = pq.read_table(recording / f"{name}.parquet")
        order = pa.array(range(table.num_rows - 1, -1, -1))
        pq.write_table(
            table.take(order), shuffled / f"{name}.parquet", row_group_size=rows_per_group
        )
    after = judge(Recording.open(shuffled))
    assert after.summary == before.summary
    assert after.episodes == before.episodes


def test_episodes_partition_the_audits_with_a_gap(recording):
    verdict = judge(Recording.open(recording))
    audits = pq.read_table(recording / "audits.parquet").to_pylist()
    for row in audits:
        inside = [
            episode
            for episode in verdict.episodes
            if episode.pool == row["pool"]
            and episode.opened_audit <= row["audit"]
            and (episode.closed_audit is None or row["audit"] < episode.closed_audit)
        ]
        assert len(inside) == (row["gap"] != 0)


def test_owners_of_an_open_episode_add_up_to_its_gap(recording):
    verdict = judge(Recording.open(recording))
    still_open = [episode for episode in verdict.episodes if episode.is_open]
    assert still_open
    for episode in still_open:
        owned = sum(owner.pages for owner in episode.owners if owner.closed_audit is None)
        assert owned * 64 == episode.last_gap_tokens
        assert episode.causes


@pytest.mark.parametrize(
    ("share", "closed", "can_progress", "kind"),
    [
        ("stalled", True, True, "held"),
        ("stalled", False, True, "held"),
        ("stalled", False, False, "stuck"),
        ("departed", False, False, "orphaned"),
        ("cache-held", False, False, "cache-held"),
        ("over-freed", False, False, "over-freed"),
        ("counter-drift", False, False, "counter-drift"),
    ],
)
def test_kinds(share, closed, can_progress, kind):
    assert kind_of(share, closed, can_progress) == kind


@pytest.mark.parametrize("text", ["", "[]", '{"schema": "kvreplay.run/99"}', "{"])
def test_what_is_no_recording_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RecordingError, match=r"run\.json"):
        Recording.open(tmp_path)


def test_a_missing_directory_is_refused(tmp_path):
    with pytest.raises(RecordingError, match="not a recording"):
        Recording.open(tmp_path / "none")


def episode(number, gap_tokens, closed, quiet_gap_tokens=None):
    return Episode(
        number=number,
        pool="decode0/dp0",
        opened_audit=number * 10,
        opened_us=number * 10,
        closed_audit=number * 10 + 5 if closed else None,
        closed_us=number * 10 + 5 if closed else None,
        widest_audit=number * 10,
        gap_tokens=gap_tokens,
        quiet_audit=None if quiet_gap_tokens is None else number * 10,
        quiet_gap_tokens=quiet_gap_tokens,
        last_gap_tokens=gap_tokens,
        owners=(),
        kinds={},
        growth=None,
        healed_audit=1000,
        causes=(),
    )


def test_the_worst_episode_is_an_open_one_then_the_widest_quiet_one_then_the_first():
    wide_but_closed = episode(0, 9000, closed=True, quiet_gap_tokens=9000)
    narrow_but_open = episode(1, 64, closed=False, quiet_gap_tokens=64)
    over_freed = episode(2, -640, closed=False, quiet_gap_tokens=-640)
    assert worst_episode((wide_but_closed, narrow_but_open)) == narrow_but_open
    assert worst_episode((narrow_but_open, over_freed)) == over_freed
    twins = (episode(3, 64, closed=True), episode(4, 64, closed=True))
    assert worst_episode(twins) == twins[0]
    assert worst_episode(()) is None
