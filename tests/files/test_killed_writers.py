"""Killed before any step, or in one, a writer leaves the old or the new; the next run clears up.

No test of timing: a process is forked that counts its steps (`cut_off.py`). A kill leaves what is on the
disk, so one run in which that is copied before each step stands for as many kills; some are made to see
that it does. One process for each step is interrupted, or has no room from there on, after which nothing
is to be left.
"""

from __future__ import annotations

import pytest
from file_helpers import hidden
from stages import EVERY_STEP, WRITERS, Writer

from traces.files.locks import Hold

pytestmark = pytest.mark.slow

#: All of them have steps that none of the others makes, unless every step is to be cut.
KILLED = [name for name, writer in WRITERS.items() if EVERY_STEP or not writer.is_rare]


#: What kills leave is the system's doing, not the writer's: some of those that write in different ways.
REALLY_KILLED = (
    "trace over another",
    "recording over another",
    "shrunk over another",
    "merged over another",
)


@pytest.mark.parametrize("name", KILLED)
def test_killed_before_any_step_it_leaves_the_old_or_the_new(stage, name):
    at = stage(WRITERS[name])
    for turn, told in enumerate(at.killed(before=at.chosen())):
        at.assert_whole(told)
        if turn % at.writer.rerun_every == 0:
            at.rerun(told)


@pytest.mark.parametrize("name", KILLED)
def test_killed_in_the_middle_of_a_write_it_leaves_the_old_or_the_new(stage, name):
    at = stage(WRITERS[name])
    numbers = [each for each in at.chosen() if at.steps[each - 1].startswith("write ")]
    for turn, told in enumerate(at.killed(within=numbers)):
        at.assert_whole(told)
        if turn % at.writer.rerun_every == 0:
            at.rerun(told)


@pytest.mark.parametrize("act", ["kill", "half"])
@pytest.mark.parametrize("name", REALLY_KILLED)
def test_a_real_kill_leaves_what_was_on_the_disk(stage, name, act):
    at = stage(WRITERS[name])
    writes = [each for each in at.chosen() if at.steps[each - 1].startswith("write ")]
    numbers = writes if act == "half" else at.chosen()
    numbers = sorted({numbers[0], numbers[len(numbers) // 2], numbers[-1]})
    how = {"before" if act == "kill" else "within": numbers}
    copied = {told[0]: at.on_disk() for told in at.killed(**how)}
    assert copied
    for number, expected in copied.items():
        at.restore()
        assert at.run(act=act, at=number)["code"] == -9
        assert at.on_disk() == expected, (number, at.steps[number - 1])


#: Those that make all that there is of steps.
CUT_SHORT = (
    "trace over another",
    "import that spills",
    "recording over another",
    "engine logs and recording",
    "reports",
    "reproduction over another",
    "shrunk over another",
    "matrix",
    "merged over another",
    "junit",
    "markdown",
    "demo over another",
)


@pytest.mark.parametrize("name", CUT_SHORT)
def test_interrupted_before_any_step_it_leaves_nothing_half_and_nothing_hidden(stage, name):
    at = stage(WRITERS[name])
    for number in at.kinds():
        told = (number, at.steps[number - 1])
        at.restore()
        answer = at.run(act="interrupt", at=number)
        assert answer["code"] in (0, 1, 3, 130), (told, answer)
        assert "Traceback" not in answer["err"], (told, answer)
        assert not hidden(at.root), (told, answer)
        at.assert_whole(told)


@pytest.mark.parametrize("name", CUT_SHORT)
def test_on_a_disk_that_is_full_from_any_step_on_it_leaves_nothing_half(stage, name):
    at = stage(WRITERS[name])
    for number in at.kinds():
        told = (number, at.steps[number - 1])
        at.restore()
        answer = at.run(act="full", at=number)
        assert answer["code"] in (0, 1, 2, 3), (told, answer)
        assert not hidden(at.root), (told, answer)
        at.assert_whole(told)
        if answer["code"] == 2:
            assert answer["err"].count("\n") == 1, (told, answer)
            assert ".kvreplay-" not in answer["err"], (told, answer)
            if not at.is_worked_in and at.writer.verb not in ("junit", "markdown"):
                found = {name: at.contents(at.root / name) for name in at.places}
                assert found == at.old, told


NO_EXCHANGE = (
    "trace over another",
    "recording",
    "recording over another",
    "reports",
    "shrunk over another",
    "demo over another",
)


@pytest.mark.parametrize("name", NO_EXCHANGE)
def test_where_names_cannot_change_places_the_rerun_has_the_old_or_the_new(stage, name):
    writer = WRITERS[name]
    at = stage(Writer(**vars(writer) | {"more": {"has_exchange": False}}))
    steps = [each for each in at.chosen() if at.steps[each - 1].startswith(("rename", "fsync"))]
    for told in at.killed(before=steps):
        # What was there is where it was, or aside.
        for each in at.places:
            if at.old[each] is not None and not at.is_worked_in:
                place = at.root / each
                aside = Hold(place, place.parent).folder.glob("*.old")
                found = [at.contents(path, each) for path in (place, *aside)]
                assert at.old[each] in found or at.new[each] in found, told
        at.rerun(told)
