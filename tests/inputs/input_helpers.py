"""What tests of inputs share beside their fixtures."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def sentences(err):
    """The sentences on standard error that say what is wrong."""
    lines = [line for line in err.splitlines() if line.startswith(("kvreplay: ", "Error: "))]
    return [line for line in lines if not line.startswith("kvreplay: warning")]
