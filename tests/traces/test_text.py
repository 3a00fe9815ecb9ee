"""Text from outside made printable: for every character there is, and for any text."""

import ast
import json
import sys
import time
import tomllib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces.text import (
    all_printable,
    json_text,
    printable,
    shortened,
    shortened_lines,
    toml_string,
)

#: Any text, with many of the characters that do harm.
TEXT = st.text(
    st.characters(exclude_categories=[]) | st.sampled_from("\x1b\x07\x00\x9b\u202e\u200b\n\t\\")
)


def shows(character):
    return character.isprintable() or unicodedata.category(character) == "Zs"


@pytest.mark.slow
def test_every_character_there_is_shows_or_is_escaped():
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        shown = printable(f"a{character}b")
        if shows(character) or character == "\n":
            assert shown == f"a{character}b"
        else:
            assert shown.isascii() and shown.isprintable() and len(shown) > 3, hex(code)
            assert ast.literal_eval(f"'{shown}'") == f"a{character}b"


@pytest.mark.parametrize(
    "hidden, shown",
    [
        ("\x1b[31mRED\x07", r"\x1b[31mRED\x07"),
        ("\x00\x7f\x9b\t\r", r"\x00\x7f\x9b\t\r"),
        (
            "\u061c\u200e\u200f\u202a\u202e\u2066\u2069",
            r"\u061c\u200e\u200f\u202a\u202e\u2066\u2069",
        ),
        (
            "\u200b\u200c\u200d\u2060\ufeff\u2028\u2029",
            r"\u200b\u200c\u200d\u2060\ufeff\u2028\u2029",
        ),
        ("\ud800\udcff\ufffe\ue000\U000e0041", r"\ud800\udcff\ufffe\ue000\U000e0041"),
    ],
)
def test_what_steers_or_hides_is_written_out(hidden, shown):
    assert printable(hidden) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "r-17",
        "naïve",
        "e\u0301",
        "请求 一",
        "شكرا",
        "עברית",
        "नमस्ते",
        "🦊🇩🇪",
        "a\u00a0b\u3000c",
        "a\\x1b\nb",
    ],
)
def test_what_shows_is_left_alone(text):
    assert printable(text) == text
    assert shortened(text, 100, lines=True) == text


@given(TEXT)
def test_all_of_it_shows_and_once_is_enough(text):
    shown = printable(text)
    assert all(shows(each) or each == "\n" for each in shown)
    assert printable(shown) == shown
    assert shown.count("\n") == text.count("\n")


@given(TEXT, st.integers(1, 40), st.booleans())
def test_what_is_left_out_is_counted(text, characters_max, lines):
    shown = shortened(text, characters_max, lines=lines)
    assert printable(shown) == shown
    assert lines or "\n" not in shown
    whole = text if lines else " ".join(text.split())
    if len(printable(whole)) <= characters_max:
        assert shown == printable(whole)
        return
    kept, _, more = shown.rpartition("\N{HORIZONTAL ELLIPSIS} (")
    left_out = int(more.removesuffix(" more characters)").replace(",", ""))
    assert kept == printable(whole[: len(whole) - left_out])
    assert len(kept) <= characters_max
    # Not one more would have fitted.
    assert len(printable(whole[: len(whole) - left_out + 1])) > characters_max


@given(st.lists(TEXT, max_size=4))
def test_each_line_is_shortened_on_its_own(texts):
    text = "\n".join(texts)
    lines = shortened_lines(text, 12).split("\n")
    assert lines == [shortened(each, 12, lines=True) for each in text.split("\n")]


@given(
    st.recursive(TEXT | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner))
)
def test_json_stays_true_and_shows(value):
    for indent in (None, 2):
        text = json_text(value, indent)
        assert all(shows(each) or each == "\n" for each in text)
        assert json.loads(text) == json.loads(json.dumps(value))
    assert json.dumps(all_printable(value)).isprintable()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_toml_stays_true_and_shows(text):
    written = toml_string(text)
    assert all(map(shows, written))
    assert tomllib.loads(f"key = {written}") == {"key": text}


@pytest.mark.parametrize("letter", ["a", "\x1b", "\u202e", "é", "\n"])
def test_megabytes_cost_little_where_a_little_is_shown(letter):
    text = letter * 5_000_000
    began = time.process_time()
    shown = shortened(text, 300, lines=True)
    assert time.process_time() - began < 2
    assert len(shown) < 340
