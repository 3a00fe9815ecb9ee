"""Names from outside are text everywhere: ids, sessions, rules, comments and files that would run if they could."""

import pytest
from visits import Visit

from replay.cli import run_command_line
from reports.page import write_report
from traces.dataset import TraceWriter
from traces.schema import TraceRequest

pytestmark = pytest.mark.browser

RUNS = "<script>document.title='run'</script><img src=x onerror=document.title='run'>\"'`{{7*7}}"
LONG = "q" * 10_000
#: Request -> its name: one runs, one is 10 kB long, one breaks out of attributes.
NAMES = {2: f"r2{RUNS}", 5: f"r5{LONG}", 7: "r7\"'><b onmouseover=document.title='run'>"}

PLAN = """
comment = {comment}

[[rule]]
name = {rule}
fault = "drop"
request_ids = [{ids}]

[[rule]]
name = {session_rule}
fault = "delay"
delay_us = 500_000
session_ids = [{session}]
"""


def toml(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page on one recording and a comparison of it, whose folders would also run."""
    root = tmp_path_factory.mktemp("hostile")
    with TraceWriter(root / "trace.parquet", source=RUNS, block_size=16) as writer:
        for index in range(30):
            writer.write(
                TraceRequest(
                    request_id=NAMES.get(index, f"r{index}"),
                    arrival_us=index * 100_000,
                    input_tokens=300,
                    output_tokens=10,
                    block_hashes=None,
                    session_id=f"s{RUNS}" if index > 20 else None,
                    cancel_us=None,
                    priority=None,
                )
            )
    plan = root / "plan.toml"
    plan.write_text(
        PLAN.format(
            comment=toml(f"why {RUNS} {LONG}"),
            rule=toml(f"lost {RUNS}"),
            ids=", ".join(toml(name) for name in NAMES.values()),
            session_rule=toml(f"late {LONG}"),
            session=toml(f"s{RUNS}"),
        )
    )
    name = "<img src=x onerror=document.title='run'>\"'"
    run = ["run", str(root / "trace.parquet"), "--profile", "sglang-0.4.6.post4", "--device", "cpu"]
    assert run_command_line([*run, "--plan", str(plan), "--out", str(root / name)]) in (0, 1)
    assert run_command_line([*run, "--out", str(root / "calm")]) == 0
    write_report([root / name], root / "one.html")
    write_report([root / name, root / "calm"], root / "two.html")
    return root


@pytest.mark.parametrize("name", ["one.html", "two.html"])
@pytest.mark.parametrize("width", [360, 1200])
def test_it_is_all_text_and_nothing_of_it_runs(chromium, pages, name, width):
    with Visit(chromium, pages / name, width=width) as visit:
        page = visit.page
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        page.locator(".timeline").first.scroll_into_view_if_needed()
        page.wait_for_selector(".chart.live svg")
        said = page.locator("main").inner_text()
        for text in (NAMES[2], NAMES[7], f"lost {RUNS}", "why <script>", "s<script>"):
            assert text in said
        # What is long is there once whole, and says of every shorter form how much is left out.
        assert LONG in said
        assert page.title() != "run"
        assert (
            page.evaluate("document.querySelectorAll('main img, main script:not([type])').length")
            == 0
        )
        assert page.evaluate("document.querySelectorAll('[onerror], [onmouseover]').length") == 0
        assert visit.problems == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
