"""A replay without files comes to the same as one with a recording."""

import pytest
from shrink_cases import schedule_case

from replay.run.replay_once import replay
from replay.shrink.in_memory import replay_in_memory

#: What depends on files or on the clock.
LEFT_OUT = {"recording_sha256", "timing"}


@pytest.mark.parametrize("seed", range(8))
def test_the_verdict_is_that_of_the_recording(seed, tmp_path):
    case = schedule_case(seed)
    written = replay(case.to_request(), tmp_path / "recording")
    _, verdict = replay_in_memory(case.to_request())
    assert verdict.summary == {
        name: value for name, value in written.items() if name not in LEFT_OUT
    }
