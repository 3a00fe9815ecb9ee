"""Real engines for the conformance tests: skipped, with the reason, where they cannot be had."""

import os

import pytest
from sglang_process import RealSglang
from wheels import NoWheelError


@pytest.fixture(scope="session")
def real_sglang():
    """Real SGLang processes by version, started when they are first asked for."""
    started: dict[str, RealSglang] = {}

    def get(version: str) -> RealSglang:
        if version not in started:
            try:
                started[version] = RealSglang(version)
            except NoWheelError as error:
                if os.environ.get("KVREPLAY_NEEDS_WHEELS") == "1":
                    pytest.fail(f"the conformance tests must run: {error}")
                pytest.skip(f"no real SGLang to compare with: {error}")
        return started[version]

    yield get
    for process in started.values():
        process.close()
