"""The museum: one output of every verb, made once; and the nursery, where writers are cut off."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from file_helpers import fill_museum, use_small_ways
from stages import Nursery, Stage, Writer


@pytest.fixture(scope="session")
def museum(tmp_path_factory) -> Path:
    """A folder with what commands read and with what they make; tests copy from it."""
    root = tmp_path_factory.mktemp("museum")
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(root):
        use_small_ways(patch)
        fill_museum(root)
    return root


@pytest.fixture(scope="session")
def nursery(museum) -> Iterator[Nursery]:
    """A process that runs command lines and cuts them off."""
    running = Nursery(museum)
    yield running
    running.end()


@pytest.fixture
def stage(nursery, museum, tmp_path) -> Callable[[Writer], Stage]:
    """Make the stage of a writer."""
    return lambda writer: Stage(nursery, museum, tmp_path.resolve(), writer)
