"""The Markdown summary: what it says, that it stays small, and that no text in it becomes markup."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matrix_results import HOSTILE, MATRIX, row, table, thousand_cells

from replay.matrix.results_schema import OUTCOMES
from reports.outputs.matrix.markdown import BYTES_MAX, matrix_markdown
from traces.text import printable

#: All that kvreplay's own Markdown is made of.
OWN_TOKENS = {
    "heading_open",
    "heading_close",
    "paragraph_open",
    "paragraph_close",
    "inline",
    "fence",
    *(
        f"{part}_{end}"
        for part in ("table", "thead", "tbody", "tr", "th", "td")
        for end in ("open", "close")
    ),
}
OWN_INLINE = {"text", "code_inline", "strong_open", "strong_close", "text_special", "softbreak"}


def tokens(markdown):
    """The blocks and what is inside them, as a reader that allows HTML and tables sees them."""
    blocks = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    return blocks, [each for block in blocks for each in block.children or ()]


def fences(markdown, language):
    return [each.content for each in tokens(markdown)[0] if each.info == language]


def table_rows(markdown):
    """The grid as lists of entries."""
    blocks, rows = tokens(markdown)[0], []
    for place, block in enumerate(blocks):
        if block.type == "tr_open":
            rows.append([])
        elif block.type in ("th_open", "td_open"):
            rows[-1].append("".join(part.content for part in blocks[place + 1].children))
    return rows


text = st.one_of(
    st.text(max_size=12),
    st.text("`|\\<>&*_[]()!#@~-=\n\r :/.w", max_size=30),
    st.sampled_from(
        [HOSTILE, "```\n# h\n```", "\\|", "`|`", "https://example.org www.example.org"]
    ),
)


@pytest.mark.slow
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "outcome": st.sampled_from(OUTCOMES),
                **dict.fromkeys(
                    ("cell", "profile", "plan", "because", "equation", "reproduce"), text
                ),
                "engine_message": st.none() | text,
            }
        ),
        max_size=4,
    ),
    text,
)
def test_no_text_becomes_markup(columns, name):
    rows = [row(number, **each) for number, each in enumerate(columns)]
    markdown = matrix_markdown(table(rows), {**MATRIX, "name": name})
    blocks, inline = tokens(markdown)
    assert {block.type for block in blocks} <= {*OWN_TOKENS, "html_block"}
    # What says whose file it is.
    assert [each.content for each in blocks if each.type == "html_block"] == [
        "<!-- kvreplay.matrix/1 -->\n"
    ]
    assert {each.type for each in inline} <= OWN_INLINE
    grid = table_rows(markdown)
    assert len({len(entries) for entries in grid}) <= 1
    assert {entries[0] for entries in grid[1:]} == {
        " ".join(printable(each["profile"]).split()) or "none" for each in rows
    }
    unexpected = [each for each in rows if each["outcome"] != "passed"]
    known, again = fences(markdown, "text"), fences(markdown, "sh")
    for each in unexpected:
        # Markdown makes every end of line a newline.
        because, line = (
            re.sub("\r\n?", "\n", printable(each[key])) for key in ("because", "reproduce")
        )
        assert any(because in content for content in known)
        assert not line or line.strip("\n") in [each.strip("\n") for each in again]
    assert len(known) == len(unexpected)


def test_it_says_what_broke_and_how_to_repeat_it():
    markdown = matrix_markdown(table(thousand_cells()), MATRIX)
    assert markdown.startswith("## \N{BALLOT X} `nightly`: 6 of 1,000 cells not as expected\n")
    assert "**994** passed, **1** inconclusive, **2** failed, **1** timed-out" in markdown
    headings = re.findall("^#### (.*)$", markdown, re.MULTILINE)
    assert (
        headings[0]
        == "\N{BALLOT X}X `sglang-0.4.6.post3 tp8/dp8 builtin:late-completion-after-timeout seed 8`"
    )
    assert [heading[:2] for heading in headings] == [
        f"\N{BALLOT X}{letter}" for letter in ("X", "M", "H", "P", "P", "?")
    ]
    [leak] = [each for each in fences(markdown, "text") if "found persistent" in each]
    for words in (
        "because: expected clean, found persistent",
        "gap 34048 tokens = 532 pages of 64",
        "(ci/nightly.kvmatrix.toml:12)",
        "verdict: persistent: 532 pages",
        "memory leak detected!",
    ):
        assert words in leak
    assert len(fences(markdown, "sh")) == 6


def test_the_grid_counts_cells_that_share_a_place():
    grid = {
        entries[0]: entries[1:]
        for entries in table_rows(matrix_markdown(table(thousand_cells()), MATRIX))
    }
    assert grid["profile \\ plan"][2] == "builtin:lost-completion"
    assert grid["hardened"][2] == "20 C"
    assert grid["sglang-0.4.6.post3"][2] == "19 P, 1 \N{BALLOT X}P"
    assert grid["sglang-0.4.6.post3"][0] == "19 C, 1 \N{BALLOT X}X"


def test_all_well_is_short():
    markdown = matrix_markdown(table([row(0), row(1, plan="none")]), MATRIX)
    assert "2 cells, all as expected" in markdown
    assert "Not as expected" not in markdown
    assert table_rows(markdown)[1] == ["hardened", "C", "C"]


def test_many_plans_become_rows():
    rows = [row(number, plan=f"plan-{number}") for number in range(30)]
    grid = table_rows(matrix_markdown(table(rows), MATRIX))
    assert len(grid) == 31 and grid[0] == ["plan \\ profile", "hardened"]


def test_a_grid_that_nobody_could_read_is_left_out_and_said_so():
    rows = [row(number, plan=f"p{number}", profile=f"q{number}") for number in range(30)]
    markdown = matrix_markdown(table(rows), MATRIX)
    assert table_rows(markdown) == []
    assert "The grid of 30 profiles by 30 plans is left out" in markdown


@pytest.mark.parametrize("size", [100, 5_000, 20_000])
def test_it_stays_below_the_limit_and_says_what_it_left_out(size):
    """Texts of four bytes a character, in every cell, of every size."""
    wide = "\N{PILE OF POO}" * size
    rows = [
        row(number, **dict.fromkeys(("cell", "because", "why", "equation", "error"), wide))
        | {"outcome": "failed", "engine_message": wide, "plan": f"{number % 12}{wide}"}
        for number in range(200)
    ]
    markdown = matrix_markdown(table(rows), {**MATRIX, "name": wide, "file": {"path": wide}})
    assert len(markdown.encode()) <= BYTES_MAX < 2**20
    told = markdown.count("\n#### ")
    assert 1 <= told <= 50
    assert f"{200 - told} more cells not as expected left out ({200 - told} failed)" in markdown


def test_a_line_too_long_to_show_is_not_cut_into_another_command():
    rows = [row(outcome="failed", reproduce="kvreplay run " + "x" * 20_000)]
    markdown = matrix_markdown(table(rows), MATRIX)
    assert "kvreplay run" not in markdown
    assert "too long to show" in markdown
