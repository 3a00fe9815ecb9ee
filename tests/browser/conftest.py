"""One headless Chromium for all browser tests; skipped where there is none."""

import shutil

import pytest
from waiting import HANGS_S


@pytest.fixture(scope="session")
def chromium():
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no program called chromium; install it (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        new_context = browser.new_context

        def new_patient_context(**options):
            context = new_context(**options)
            context.set_default_timeout(HANGS_S * 1000)
            return context

        browser.new_context = new_patient_context
        browser.idle_tabs = {}
        yield browser
        browser.close()
