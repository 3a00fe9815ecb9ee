"""A pytest plugin that prints the CPU seconds of folders, modules and tests, child processes included.

    PYTHONPATH=tests/helpers python -m pytest -q -p cpu_times tests/files

Wall time says nothing on a busy machine. `KVREPLAY_CPU_TIMES=FILE` keeps a line of JSON for each test. A
process that ends after its parent is not counted.
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _process_fields(pid: str) -> list[str]:
    """What /proc says of a process after its name, which may hold spaces."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_seconds() -> float:
    """User and system time of this process and of all its children, the running ones too."""
    pids = (path.name for path in Path("/proc").iterdir() if path.name.isdigit())
    processes = {pid: _process_fields(pid) for pid in pids}
    wanted, found = {str(os.getpid())}, set()
    while wanted:
        found |= wanted
        wanted = {pid for pid, fields in processes.items() if fields and fields[1] in wanted}
        wanted -= found
    # Of itself and of the children it has waited for: utime, stime, cutime, cstime.
    return (
        sum(int(ticks) for pid in found for ticks in processes.get(pid, [])[11:15]) / _TICKS_PER_S
    )


class CpuTimes:
    """Notes the CPU seconds of each phase of each test."""

    def __init__(self) -> None:
        self.of_test: Counter[str] = Counter()
        self.at_start = cpu_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        before = cpu_seconds()
        result = yield
        # Less than nothing where a process ends whose parent does not wait for it.
        seconds = max(0.0, cpu_seconds() - before)
        self.of_test[item.nodeid] += seconds
        if out := os.environ.get("KVREPLAY_CPU_TIMES"):
            with Path(out).open("a") as file:
                print(json.dumps([item.nodeid, round(seconds, 2)]), file=file)
        return result

    def pytest_terminal_summary(self, terminalreporter):
        of_module: Counter[str] = Counter()
        of_folder: Counter[str] = Counter()
        for nodeid, seconds in self.of_test.items():
            module = nodeid.partition("::")[0]
            of_module[module] += seconds
            of_folder[str(Path(module).parent)] += seconds
        tests = sum(self.of_test.values())
        terminalreporter.section(
            f"{tests:.1f} CPU seconds, and {self.at_start:.1f} before any test"
        )
        for counts, most in ((of_folder, 100), (of_module, 40), (self.of_test, 40)):
            for name, seconds in counts.most_common(most):
                if seconds >= 0.1:
                    terminalreporter.line(f"{seconds:8.2f}  {name}")
            terminalreporter.line("")


def pytest_configure(config):
    config.pluginmanager.register(CpuTimes(), "cpu_times_of_tests")
