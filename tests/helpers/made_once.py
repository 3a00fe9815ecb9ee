"""Folders that take long to make: one of the processes that run tests makes them, and all use them."""

import fcntl
import os


def made_once(tmp_path_factory, name, make):
    """The folder `name` of this run; `make(folder)` fills it, in whichever process comes first."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, done = base / name, base / f"{name}.done"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder.mkdir(parents=True)
            make(folder)
            done.touch()
    return folder
