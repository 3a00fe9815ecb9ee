"""Waiting for other processes on a machine whose cores may all be busy with somebody else's work."""

import time

#: Nothing here takes ten seconds alone. Only what hangs takes longer than this, whatever else is running.
HANGS_S = 300


def wait_until(holds, problem="it does not happen"):
    """Look again and again until `holds()` is true."""
    deadline = time.monotonic() + HANGS_S
    while not holds():
        assert time.monotonic() < deadline, problem
        time.sleep(0.02)
