"""The pages look as they did when somebody last looked: each part, in light, in dark and on a phone.

After a change of the look, remember the new pictures and look at every one of them:

    KVREPLAY_NEW_PICTURES=1 python -m pytest tests/browser/test_looks.py
"""

import io
import os
from pathlib import Path

import pytest
from looks import difference, small
from PIL import Image
from report_pages import make_pages
from test_report_page import Visit

pytestmark = pytest.mark.browser

PICTURES = Path(__file__).parent / "pictures"
VIEWS = {"light": (1200, "light"), "dark": (1200, "dark"), "phone": (360, "light")}
#: Page -> its first cards that are compared: both recordings of a comparison are pages like the first.
CARDS = {"leak": 40, "comparison": 3, "matrix": 3}
#: Pixels of a part that are compared; what is longer is cut there.
HEIGHT_MAX = 2_000


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return make_pages(tmp_path_factory.mktemp("looks"))


#: Whatever the system's own font is: .ci/run installs this one beside Chromium.
FONT = """body, button, input { font-family: "DejaVu Sans" !important; }
pre, code { font-family: "DejaVu Sans Mono" !important; }"""


def parts(page, cards_max):
    """Every card of a page by its number, and its picture."""
    page.add_style_tag(content=FONT)
    page.evaluate("document.querySelectorAll('.scroll').forEach(each => { each.scrollTop = 0; })")
    for number, card in enumerate(page.locator("section.card, nav.card").all()[:cards_max]):
        if card.is_visible():
            yield f"{number:02d}", small(cut(card.screenshot(animations="disabled")))


def cut(picture):
    image = Image.open(io.BytesIO(picture))
    if image.height <= HEIGHT_MAX:
        return picture
    out = io.BytesIO()
    image.crop((0, 0, image.width, HEIGHT_MAX)).save(out, "png")
    return out.getvalue()


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", CARDS)
def test_every_part_looks_as_it_did(chromium, pages, name, view):
    width, scheme = VIEWS[view]
    with Visit(chromium, pages[name], width=width, scheme=scheme) as visit:
        visit.page.wait_for_load_state("networkidle")
        found = dict(parts(visit.page, CARDS[name]))
        place = PICTURES / name / view
        if os.environ.get("KVREPLAY_NEW_PICTURES"):
            for old in place.glob("*.png"):
                old.unlink()
            for part, picture in found.items():
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{part}.png").write_bytes(picture)
        expected = {path.stem: path.read_bytes() for path in place.glob("*.png")}
        assert sorted(found) == sorted(expected)
        differing = {
            part: seen
            for part, picture in found.items()
            if (seen := difference(picture, expected[part])).is_too_large
        }
        assert differing == {}


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (".story { display: block !important; }", "columns under each other"),
        (".card { background: #000 !important; }", "black on black"),
        (".sums dd { display: none !important; }", "no numbers in the equation"),
        (".badge { display: none !important; }", "no verdict"),
        (".soft { color: red !important; }", "another colour"),
        ("pre { font-size: 2.2rem !important; }", "a line that fills the screen"),
    ],
)
def test_a_broken_layout_is_seen(chromium, pages, broken, what):
    with Visit(chromium, pages["leak"], width=1200) as visit:
        visit.page.add_style_tag(content=broken)
        _, picture = next(parts(visit.page, 1))
        expected = (PICTURES / "leak" / "light" / "00.png").read_bytes()
        assert difference(picture, expected).is_too_large, what
