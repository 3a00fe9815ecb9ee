"""Every page's commands run once, whoever asks for what came of them."""

import fcntl
import json
import os
from dataclasses import asdict

import pytest
from page_commands import Outcome, run_page


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """Of a page: the folder in which its commands have run, and what came of each."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    root = base / "pages"

    def of(page):
        folder = root / page.replace("/", "-").removesuffix(".md")
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder.with_suffix(".json")
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                outcomes = run_page(page, folder)
                kept.write_text(json.dumps([asdict(outcome) for outcome in outcomes]))
        return folder, [Outcome(**fields) for fields in json.loads(kept.read_text())]

    return of
