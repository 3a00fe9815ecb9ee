"""The pytest plugin: what pytest calls. Nothing else is imported before it is needed.

*.kvmatrix.toml  ->  one test per cell  (`replay.pytest_plugin.cells`)
kvreplay         ->  a fixture for tests of one's own allocators  (`replay.pytest_plugin.harness`)
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from replay.pytest_plugin import SUFFIX

if TYPE_CHECKING:
    from replay.pytest_plugin.harness import Harness


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what turns the collection off and says where recordings go."""
    group = parser.getgroup("kvreplay")
    group.addoption(
        "--no-kvmatrix",
        action="store_true",
        help=f"collect no *{SUFFIX} files, as the ini option kvmatrix = false",
    )
    group.addoption(
        "--kvmatrix-out",
        metavar="DIR",
        help=f"keep the recordings and reports of the cells of *{SUFFIX} files in DIR",
    )
    parser.addini("kvmatrix", f"whether *{SUFFIX} files are tests", type="bool", default=True)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; refuse a place for recordings that cannot be one."""
    config.addinivalue_line("markers", f"kvmatrix: a cell of a *{SUFFIX} file")
    out = config.getoption("--kvmatrix-out")
    if out is not None and (config.invocation_params.dir / out).is_file():
        raise pytest.UsageError(f"--kvmatrix-out {out}: is a file; name a directory")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect matrix files."""
    if not file_path.name.endswith(SUFFIX) or not _is_on(parent.config):
        return None
    collector: pytest.Collector = MatrixCollector.from_parent(parent, path=file_path)
    return collector


class MatrixCollector(pytest.File):
    """A matrix file. Pytest makes one for each file beside those that it is asked for."""

    def collect(self) -> Iterable[pytest.Item]:
        """Read the file; its cells are the tests."""
        from replay.pytest_plugin.cells import cells_of_file

        return cells_of_file(self)


def _is_on(config: pytest.Config) -> bool:
    return bool(config.getini("kvmatrix")) and not config.getoption("--no-kvmatrix")


@pytest.fixture(scope="session")
def kvreplay(tmp_path_factory: pytest.TempPathFactory) -> Harness:
    """Replay traces under faults, against an allocator of your own if you like."""
    from replay.pytest_plugin.harness import Harness

    return Harness(tmp_path_factory.mktemp("kvreplay"))
