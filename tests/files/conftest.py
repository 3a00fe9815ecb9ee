"""The museum: one output of every verb, made once; and the nursery, where writers are cut off."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from creatures_not_ours import make_foreign
from file_helpers import fill_museum, use_drawn, use_small_ways
from made_once import made_once
from stages import Nursery, Stage, Writer


@pytest.fixture(scope="session")
def museum(tmp_path_factory) -> Path:
    """A folder with what commands read and with what they make; tests copy from it."""

    def make(root):
        with pytest.MonkeyPatch.context() as patch, contextlib.chdir(root):
            use_small_ways(patch)
            fill_museum(root)
            make_foreign(root)

    return made_once(tmp_path_factory, "museum", make)


@pytest.fixture(scope="module")
def zoo(museum) -> Iterator[Path]:
    """The museum, and verbs that do not draw what is drawn there already."""
    with pytest.MonkeyPatch.context() as patch:
        use_small_ways(patch)
        use_drawn(patch, museum)
        yield museum


@pytest.fixture(scope="session")
def nursery(museum) -> Iterator[Nursery]:
    """A process that runs command lines and cuts them off."""
    running = Nursery(museum)
    yield running
    running.end()


@pytest.fixture(scope="session")
def stage(nursery, museum, tmp_path_factory) -> Callable[[Writer], Stage]:
    """The stage of a writer, to be restored before each run."""
    stages: dict[str, Stage] = {}

    def get(writer: Writer) -> Stage:
        key = repr(writer)
        if key not in stages:
            base = tmp_path_factory.mktemp("stage").resolve()
            stages[key] = Stage(nursery, museum, base, writer)
        return stages[key]

    return get
