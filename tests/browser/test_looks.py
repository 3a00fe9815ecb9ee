"""The pages look right: each in light, in dark, on a tablet and on a phone, in whatever font there is.

What looks right is in looks.js, as checks of where boxes and words are and of their colours. That each
check sees what it is for is shown by layouts that are broken on purpose.
"""

from contextlib import contextmanager
from pathlib import Path

import pytest
from report_pages import make_pages
from visits import Visit

pytestmark = pytest.mark.browser

LOOKS = Path(__file__).with_name("looks.js").read_text()
VIEWS = {
    "light": (1200, "light"),
    "dark": (1200, "dark"),
    "tablet": (768, "dark"),
    "phone": (360, "light"),
}
#: Beside the page's own. Drawings set their words by hand: they need not be spaced out.
FONTS = {
    "serif": "* { font-family: serif !important; }",
    # Twice, or Chromium makes the root's letters smaller.
    "monospace": "* { font-family: monospace, monospace !important; }",
    "spaced": "body :not(svg *) { letter-spacing: .12em; word-spacing: .16em; }"
    "body svg { letter-spacing: normal; word-spacing: normal; }",
}


#: Charts that are given another width are drawn anew in the frame after the next.
SETTLE = """async isOpen => {
  for (const each of document.querySelectorAll("details")) each.open = isOpen;
  for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
}"""


@pytest.fixture(scope="module")
def opened(chromium, tmp_path_factory):
    """Opens a page of these in a view, once, with its charts alive, and shows the top of it."""
    pages = make_pages(tmp_path_factory.mktemp("looks"))
    visits = {}

    def open_page(name, view):
        if (name, view) not in visits:
            width, scheme = VIEWS[view]
            visits[name, view] = Visit(chromium, pages[name], width=width, scheme=scheme)
            page = visits[name, view].page
            if name == "comparison":  # its first recording is the leak
                page.evaluate("document.getElementById('r1').remove()")
            for timeline in page.locator(".timeline").all():
                timeline.scroll_into_view_if_needed()
                timeline.locator(".tools.ready").wait_for()
            page.evaluate("scrollTo(0, 0)")
        return visits[name, view].page

    yield open_page
    for visit in visits.values():
        visit.context.close()


@contextmanager
def styled(page, style):
    added = page.add_style_tag(content=style)
    try:
        yield
    finally:
        added.evaluate("each => each.remove()")


def complaints(page, *checks, opened=True):
    """Check -> what it complains of; with everything that can be opened open, or as it is at first."""
    page.evaluate(SETTLE, opened)
    return page.evaluate(f"names => {{ {LOOKS}; return complaints(names); }}", checks)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ["leak", "comparison", "matrix"])
def test_every_page_looks_right_in_any_font(opened, name, view):
    page = opened(name, view)
    assert complaints(page, opened=False) == {}
    assert complaints(page) == {}
    for font, style in FONTS.items() if view != "dark" else ():
        with styled(page, style):
            assert complaints(page) == {}, font


#: The check that must see it, what is broken, and the view and page in which it is.
BROKEN = [
    ("inColumns", ".story { display: block !important; }", "light", "leak"),
    ("contrast", ".card { background: #000 !important; }", "light", "leak"),
    ("firstScreen", ".sums dd { display: none !important; }", "light", "leak"),
    ("firstScreen", ".badge { display: none !important; }", "light", "leak"),
    ("coloursOfTheTheme", ".soft { color: red !important; }", "light", "leak"),
    ("sizesInRange", "pre { font-size: 2.2rem !important; }", "light", "leak"),
    ("boxesOnThePage", ".lanes { position: relative; left: 8rem; }", "light", "leak"),
    ("boxesOnThePage", ".pairs dd { white-space: nowrap; }", "phone", "leak"),
    (
        "boxesOnThePage",
        "#grid { min-width: 0; } .grid .scroll { overflow: visible; }",
        "phone",
        "matrix",
    ),
    ("boxesOnThePage", ".scroll { position: static; }", "light", "leak"),
    ("textInItsCard", ".card { padding: 0; }", "phone", "comparison"),
    ("textInItsCard", ".first { height: 12rem; }", "light", "leak"),
    ("boxesApart", ".card { margin-top: -2rem; }", "light", "leak"),
    ("boxesApart", ".card { margin: 0; }", "light", "leak"),
    ("boxesApart", ".choices { margin-top: -1.5rem; }", "light", "matrix"),
    ("textsApart", ".answers dd { line-height: .6; }", "light", "leak"),
    ("textsApart", ".story { margin-top: -3.2rem; }", "light", "leak"),
    ("textsApart", "td { padding: 0; line-height: 0; }", "light", "leak"),
    ("nothingCut", ".answers { height: 5rem; overflow: hidden; }", "light", "leak"),
    ("nothingCut", ".answers { height: 5rem; overflow: auto; }", "light", "leak"),
    (
        "nothingCut",
        "p { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }",
        "phone",
        "leak",
    ),
    (
        "nothingCut",
        "#theme { width: 1rem; min-width: 0; overflow: clip; white-space: nowrap; }",
        "light",
        "leak",
    ),
    ("nothingCut", ".lane-picture text { font-size: 40px !important; }", "light", "leak"),
    ("nothingMissing", ".answers dd { font-size: 0; }", "light", "leak"),
    ("nothingMissing", ".lane h4 { opacity: 0; }", "dark", "leak"),
    ("drawingsShown", ".chart { display: none !important; }", "light", "leak"),
    ("drawingsShown", ".chart { display: block !important; }", "phone", "leak"),
    ("drawingsShown", ".own svg { width: 5rem; }", "tablet", "leak"),
    ("inOrder", ".recording { display: flex; flex-direction: column-reverse; }", "light", "leak"),
    (
        "inOrder",
        ".card { display: flex; flex-direction: column; } .card h2 { order: 1; }",
        "light",
        "leak",
    ),
    ("inOrder", ".story { direction: rtl; }", "light", "leak"),
    ("inColumns", ".both { grid-template-columns: 1fr 1fr; }", "phone", "comparison"),
    ("inColumns", ".sums > div { display: block; }", "phone", "leak"),
    ("edgesAligned", ".lanes { margin-left: .5rem; }", "light", "leak"),
    ("edgesAligned", "main { max-width: 60rem; }", "dark", "comparison"),
    ("tablesFit", ".cards tbody td { white-space: nowrap !important; }", "phone", "leak"),
    ("tablesFit", "table { width: auto !important; }", "light", "leak"),
    (
        "tablesFit",
        ".tall span { writing-mode: unset !important; white-space: nowrap; }",
        "light",
        "matrix",
    ),
    ("controlsLarge", "button { min-height: 0; padding: 0; line-height: 1; }", "light", "leak"),
    ("controlsLarge", ".cell { min-width: 0; padding: 0; }", "phone", "matrix"),
    ("numbersAligned", ".n { text-align: left; }", "light", "leak"),
    ("numbersAligned", ".sums > div { justify-content: start; }", "light", "leak"),
    ("numbersAligned", "td { font-variant-numeric: normal; }", "light", "leak"),
    ("contrast", ".answers dd { color: #888; }", "light", "leak"),
    ("contrast", ".contents { opacity: .6; }", "light", "leak"),
    ("contrast", ".chart text { fill: #999 !important; }", "light", "leak"),
    ("contrast", ".lane-picture .bar { fill: var(--ink) !important; }", "light", "leak"),
    ("contrast", ".checks .mark { color: #17653a; }", "dark", "leak"),
    ("coloursOfTheTheme", ".card { background: #000; }", "dark", "leak"),
    ("coloursOfTheTheme", ":root { --card: #fff; --ink: #000; }", "dark", "matrix"),
    ("coloursOfTheTheme", ".own-stuck { fill: blue; }", "light", "leak"),
    ("coloursOfTheTheme", ".curve .line { stroke: none !important; }", "light", "comparison"),
    ("sizesInRange", "td { font-size: .5rem !important; }", "light", "leak"),
    ("headingsByRank", "h4 { font-size: 1.1rem; }", "light", "leak"),
    ("firstScreen", ".first { margin-top: 100vh; }", "light", "leak"),
]


@pytest.mark.parametrize(("check", "broken", "view", "name"), BROKEN)
def test_a_broken_layout_is_seen(opened, check, broken, view, name):
    page = opened(name, view)
    with styled(page, broken):
        assert complaints(page, check) != {}


def test_every_check_sees_a_broken_layout(opened):
    names = opened("matrix", "light").evaluate(f"() => {{ {LOOKS}; return Object.keys(checks); }}")
    assert set(names) == {check for check, *_ in BROKEN}
