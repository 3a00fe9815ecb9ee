"""The example report in docs/ has this version's styles, scripts and story; `make example` makes it anew."""

import re
from pathlib import Path

from reports.html import content_policy, source, sources
from reports.page import DARK, scripts, styles

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "example"


def test_the_example_has_the_styles_and_scripts_of_this_version():
    page = (EXAMPLE / "report.html").read_text(encoding="utf-8")
    remedy = "run `make example`, and look at docs/example/report.png"
    assert sources(styles()) in page, remedy
    assert source(DARK) in page, remedy
    script = sources(scripts({"timeline"}))
    assert script in page, remedy
    assert str(content_policy(script)).replace("'", "&#39;") in page, remedy


def test_the_example_tells_the_demos_story_and_nothing_of_a_machine():
    page = (EXAMPLE / "report.html").read_text(encoding="utf-8")
    assert "demo-out/dropped" in page
    assert "PERSISTENT" in page
    assert "kvreplay run demo-out/trace.parquet" in page
    assert not re.search(r"/(home|root|tmp|work|Users)/", page)
    assert "checks failed" not in page
