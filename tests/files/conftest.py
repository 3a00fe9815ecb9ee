"""The museum: one output of every verb, made once."""

import contextlib
from pathlib import Path

import pytest
from file_helpers import fill_museum, use_small_ways


@pytest.fixture(scope="session")
def museum(tmp_path_factory) -> Path:
    """A folder with what commands read and with what they make; tests copy from it."""
    root = tmp_path_factory.mktemp("museum")
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(root):
        use_small_ways(patch)
        fill_museum(root)
    return root
