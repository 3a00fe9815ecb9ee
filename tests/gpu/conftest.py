"""Makes replays run where kvreplay is not installed, only checked out."""

from importlib.metadata import PackageNotFoundError, version

import pytest


@pytest.fixture(autouse=True)
def _known_version(monkeypatch):
    try:
        version("kvreplay")
    except PackageNotFoundError:
        monkeypatch.setattr("replay.run.replay_once.version", lambda _: "not installed")
