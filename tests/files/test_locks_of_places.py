"""One process at a time writes to a place; signals end it well; modes are as the user wants them."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
import time
from pathlib import Path

import pytest
from file_helpers import VERBS, copy, hidden, tree
from stages import REMOVED, WRITERS

from replay.recording.file_kinds import MATRIX, RECORDING
from traces.errors import OutputError
from traces.files import locks
from traces.files.kinds import TRACE
from traces.files.locks import LOCK_SCHEMA, Hold
from traces.files.place import hold

FAMILIES = (
    "trace over another",
    "import that spills",
    "recording over another",
    "engine logs and recording",
    "reports",
    "reproduction over another",
    "shrunk",
    "hunted over another",
    "matrix",
    "merged over another",
    "junit",
    "markdown",
    "demo over another",
)


def first_write(steps: list[str]) -> int:
    """The first step in which something is written, from 1; the lock is had by then."""
    return next(at for at, step in enumerate(steps, 1) if step.startswith("write "))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_second_process_is_refused_with_the_id_of_the_first(stage, name):
    at = stage(WRITERS[name])
    at.restore()
    first = at.run(act="stop", at=first_write(at.steps))
    assert first.get("has_stopped"), first
    try:
        before = tree(at.root)
        second = at.run()
        after = tree(at.root)
    finally:
        ended = at.nursery.finish(first["pid"], signal.SIGCONT)
    assert second["code"] == 2, second
    assert f"process {first['pid']} of kvreplay is writing there" in second["err"]
    assert second["err"].count("\n") == 1
    assert after == before
    assert ended["code"] in (0, 1, 3), ended
    assert not hidden(at.root)
    at.assert_new(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_lock_of_a_process_that_is_gone_keeps_nobody_out(stage, name):
    at = stage(WRITERS[name])
    at.restore()
    first = at.run(act="stop", at=first_write(at.steps))
    assert at.nursery.finish(first["pid"], signal.SIGKILL)["code"] == -9
    assert hidden(at.root)
    at.rerun(name)


def holder(place: Path, *, outlives: float) -> tuple[int, int]:
    """A process that holds a place and is gone at once, and its child that has the lock still."""
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        with hold(place, TRACE):
            child = os.fork()
            if child == 0:
                time.sleep(outlives)
                os._exit(0)
            os.write(write, str(child).encode())
            os._exit(0)
    os.waitpid(parent, 0)
    child = int(os.read(read, 20))
    os.close(read)
    os.close(write)
    return parent, child


def test_the_lock_is_had_while_a_worker_of_a_dead_process_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_LOCK_WAIT_S", 0.2)
    place = tmp_path / "t.parquet"
    parent, child = holder(place, outlives=60)
    try:
        with pytest.raises(OutputError, match=f"process {parent} of kvreplay"), hold(place, TRACE):
            pass
        assert hidden(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
    monkeypatch.setattr(locks, "_LOCK_WAIT_S", 20.0)
    with hold(place, TRACE) as held:
        assert held.lock_descriptor > 0
    assert not hidden(tmp_path)


def test_a_worker_that_ends_soon_is_waited_for(tmp_path):
    place = tmp_path / "t.parquet"
    holder(place, outlives=0.3)
    with hold(place, TRACE):
        pass
    assert not hidden(tmp_path)


def dead(place: Path, **content: bytes) -> Path:
    """What a killed process leaves beside a place."""
    folder = Hold(place, place.parent).folder
    folder.mkdir()
    document = {"schema": LOCK_SCHEMA, "pid": 2**22 + 1, "place": place.name}
    (folder / "lock").write_text(json.dumps(document))
    for name, each in content.items():
        (folder / name).write_bytes(each)
    return folder


def test_in_a_shared_folder_the_dead_go_and_the_living_stay(tmp_path, caplog):
    left = dead(tmp_path / "dead", one=b"half")
    empty = dead(tmp_path / "empty")
    begun = Hold(tmp_path / "begun", tmp_path).folder
    begun.mkdir()
    with hold(tmp_path / "living.parquet", TRACE) as living:
        written = living.file()
        written.write_bytes(b"half")
        other = dead(tmp_path / "later", one=b"half")
        with caplog.at_level(logging.WARNING, "kvreplay"), hold(tmp_path / "t.parquet", TRACE):
            assert written.read_bytes() == b"half"
            assert not any(each.exists() for each in (left, empty, begun, other))
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"{REMOVED}{tmp_path / name}" for name in ("dead", "later")]
    assert not hidden(tmp_path)


def test_what_stood_in_a_place_is_put_back_by_whoever_comes_next(tmp_path, caplog):
    # Killed between the renames, where two names cannot change places.
    folder = dead(tmp_path / "recording")
    (folder / "1.old").mkdir()
    (folder / "1.old" / "run.json").write_text('{"schema": "kvreplay.run/1"}')
    (folder / "1").mkdir()
    (folder / "1" / "run.json").write_text("{")
    with hold(tmp_path / "recording", RECORDING) as place:
        assert place.exists
    assert (tmp_path / "recording/run.json").read_text() == '{"schema": "kvreplay.run/1"}'
    assert not hidden(tmp_path)


def test_a_place_that_is_looked_at_only_leaves_what_a_killed_process_left(tmp_path):
    from traces.files.place import Place

    dead(tmp_path / "t.parquet", one=b"half")
    before = tree(tmp_path)
    Place(tmp_path / "t.parquet", TRACE).check()
    assert tree(tmp_path) == before


def test_two_places_worked_in_and_around_have_locks_of_their_own(tmp_path):
    (tmp_path / "m").mkdir()
    with (
        hold(tmp_path / "m", MATRIX, inside=True),
        hold(tmp_path / "m" / "m", MATRIX, inside=True),
        hold(tmp_path / "m" / "matrix.html", MATRIX.entries["matrix.html"]),
    ):
        assert len(hidden(tmp_path)) == 3
    assert not hidden(tmp_path)


# Modes ----------------------------------------------------------------------------------------------


#: Lets the group write and others nothing: no fixed mode, masked or not, is what this one asks for.
UMASK = 0o007


@pytest.mark.slow
@pytest.mark.parametrize("name", VERBS)
def test_what_is_made_has_the_modes_that_the_user_wants(nursery, museum, tmp_path, name):
    verb = VERBS[name]
    (tmp_path / "tmp").mkdir()
    for each in {*verb.reads, "t.parquet"}:
        copy(museum / each, tmp_path / each)
    before = tree(tmp_path)
    answer = nursery.run(verb.command(verb.name), tmp_path.resolve(), umask=UMASK)
    assert answer["code"] in (0, 1, 3), answer
    made = {path: entry for path, entry in tree(tmp_path).items() if path not in before}
    assert made
    for path, entry in made.items():
        wanted = 0o777 if entry[0] == "folder" else 0o666
        assert entry[1] == wanted & ~UMASK, (path, oct(entry[1]))


@pytest.mark.slow
@pytest.mark.parametrize("name", VERBS)
def test_what_is_replaced_does_not_become_readable_to_more(nursery, museum, tmp_path, name):
    verb = VERBS[name]
    (tmp_path / "tmp").mkdir()
    for each in {*verb.reads, "t.parquet", verb.name}:
        copy(museum / each, tmp_path / each)
    place = tmp_path / verb.name
    place.chmod(0o700 if verb.is_folder else 0o600)
    before = place.stat()
    answer = nursery.run(verb.command(verb.name), tmp_path.resolve(), umask=0o002)
    assert answer["code"] in (0, 1, 3), answer
    assert verb.is_worked_in or place.stat().st_ino != before.st_ino
    assert stat.S_IMODE(place.stat().st_mode) == stat.S_IMODE(before.st_mode)


# Signals --------------------------------------------------------------------------------------------


SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
SIGNALLED = (
    "import that spills",
    "recording over another",
    "reports",
    "matrix",
    "merged over another",
    "shrunk",
    "demo over another",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNALLED)
def test_a_signal_ends_it_with_one_sentence_and_its_own_code(stage, name):
    """Each signal at one of three moments of each writer, another one in the next writer."""
    at = stage(WRITERS[name])
    writes = [at for at, step in enumerate(at.steps, 1) if step.startswith(("write ", "open "))]
    first = SIGNALLED.index(name)
    numbers = [SIGNALS[(first + turn) % len(SIGNALS)] for turn in range(len(SIGNALS))]
    steps = (writes[0], writes[len(writes) // 2], writes[-1])
    for step, number in zip(steps, numbers, strict=True):
        at.restore()
        stopped = at.run(act="stop", at=step)
        answer = at.nursery.finish(stopped["pid"], number, signal.SIGCONT)
        told = (step, at.steps[step - 1], answer)
        assert answer["code"] == 128 + number, told
        sentences = [line for line in answer["err"].splitlines() if line.startswith("kvreplay: ")]
        assert len(sentences) == 1, told
        assert "Traceback" not in answer["err"], told
        assert not hidden(at.root), told
        at.assert_whole(told)
    at.rerun(name)
