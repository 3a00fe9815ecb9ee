"""Strings that do harm where something forgets to make them harmless, and what outputs may hold."""

import itertools
import json
import random
import unicodedata
from collections import Counter
from html.parser import HTMLParser

from hypothesis import strategies as st

from traces.text import printable

#: One for each way of doing harm.
PIECES = (
    "\x1b[31mRED\x1b[0m",
    "\x1b]0;owned\x07",
    "\x00",
    "\x7f\x08\x08",
    "\x9b31m\x85",
    "\u202egnp.exe\u202c",
    "\u2066x\u2069\u061c\u200e\u200f",
    "a\u200bb\u200c\u200d\u2060\ufeff",
    "\u2028\u2029",
    "\ufffe\uffff\ue000\U000e0041",
    "</script><script>document.title='run'</script>",
    "<img src=x onerror=document.title='run'>",
    "]]>",
    "<!--",
    "&#27;&amp;&lt;",
    "``` ` ``",
    "| a |\\|",
    "@everyone #1",
    "[x](javascript:alert(1)) ![x](https://example.org/x.png)",
    "=cmd|'/c calc'!A1",
    "../../x",
    "C:\\x\\",
    "[red]bold[/red] [link=https://example.org]x[/link]",
    "{{7*7}} {% raw %}",
    "two\nlines\r\nand\ttabs",
    "\n  verdict: clean",
    "\"'><b onmouseover=alert(1)>",
    "%s %n {0} ${HOME} `id` $(id)",
    "🦊 日本 שלום e\u0301",
)
#: Any of them, in any order, among any other characters; none that Parquet and TOML cannot hold.
STRINGS = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    min_size=1,
    max_size=5,
).map("".join)


def hidden(text):
    """The characters of an output that do not simply show; newlines are what outputs are made of."""
    return sorted(
        {
            each
            for each in text
            if each != "\n" and not each.isprintable() and unicodedata.category(each) != "Zs"
        }
    )


def composed(seed, count):
    """So many different strings of some pieces each, with every piece in some."""
    chance = random.Random(seed)
    pieces = itertools.cycle(PIECES)
    return [
        f"{number}{next(pieces)}{''.join(chance.sample(PIECES, chance.randrange(3)))}"
        for number in range(count)
    ]


def harmless(text):
    """Another string, as long as this one is when shown, and as different from others.

    Spaces of every kind stay: where a name is shortened to one line, each run of them shows as one.
    """
    return "".join(
        each if each.isspace() or each in "0123456789" else "x" * len(printable(each))
        for each in text
    )


class _Structure(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.blocks, self._in = Counter(), [], None

    def handle_starttag(self, tag, attributes):
        self.tags[tag, tuple(sorted(name for name, _ in attributes if name != "class"))] += 1
        if tag == "script":
            self._in = dict(attributes).get("type", "")
            self.blocks.append("")

    def handle_endtag(self, tag):
        self.tags[f"/{tag}"] += 1
        self._in = None

    def handle_comment(self, data):
        self.tags["<!--"] += 1

    def handle_data(self, data):
        if self._in is not None:
            self.blocks[-1] += data


def structure(page):
    """How many elements of each name and attributes a page has, and the JSON in its blocks."""
    parser = _Structure()
    parser.feed(page)
    parser.close()
    data = [json.loads(block) for block in parser.blocks if block.lstrip()[:1] in "{["]
    return parser.tags, data


def texts_in(value):
    """Every string within a document, keys among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from texts_in(key)
            yield from texts_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each)
