"""Markdown and JSON of a report: what they say, how long they get, and that text stays text."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from report_helpers import HOSTILE, copy_changed

from reports.compare.comparison import compare_if_two
from reports.compare.page import make_comparison_part
from reports.evidence import load
from reports.outputs.json_document import report_document
from reports.outputs.markdown import CHARACTERS_MAX, report_markdown
from reports.section import make_section


def markdown(*directories):
    found = [load(directory) for directory in directories]
    sections = [make_section(each, f"r{at}", charts=False) for at, each in enumerate(found)]
    comparison = compare_if_two(found)
    return report_markdown(
        sections, None if comparison is None else make_comparison_part(comparison)
    )


def document(*directories):
    found = [load(directory) for directory in directories]
    sections = [make_section(each, f"r{at}", charts=False) for at, each in enumerate(found)]
    return json.loads(json.dumps(report_document(found, sections, compare_if_two(found))))


def without_code(text):
    """What is left when code spans and fenced blocks are taken out: only this is Markdown."""
    text = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", text, flags=re.M | re.S)
    return re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", text)


def with_ids(recording, copy, change):
    """A copy whose request ids are others, in every table."""
    copy_changed(recording, copy)
    for path in copy.glob("*.parquet"):
        table = pq.read_table(path)
        if "request_id" in table.column_names:
            rows = table.to_pylist()
            for row in rows:
                if row["request_id"] is not None:
                    row["request_id"] = change(row["request_id"])
            pq.write_table(table.schema.empty_table().from_pylist(rows, table.schema), path)
    return copy


def test_the_comment_says_verdict_equation_blame_and_how_to_do_it_again(recordings):
    summary = load(recordings["leak"]).summary
    text = markdown(recordings["leak"])
    mismatch = summary["mismatch"]
    assert "PERSISTENT" in text
    assert f"{mismatch['gap']:,} tokens = {mismatch['pages']} pages" in text
    assert f"```sh\n{summary['reproduce']}\n```" in text
    assert "Cause: " in text
    assert re.search(r"Episodes[^<]*: (all|showing)", text)
    assert re.search(r"\d+ of \d+ consistency checks passed", text)


def test_of_two_the_comment_begins_with_what_became_of_it(recordings):
    text = markdown(recordings["leak"], recordings["clean"])
    assert "The leak is gone" in text.splitlines()[1]
    assert "| verdict | `! persistent` | `= clean` |" in text


@pytest.mark.parametrize(
    "name",
    [HOSTILE, "a`b``c```d", "x | y\nz | w", "@somebody #1 https://example.org", "]( [x](y) **b**"],
)
def test_names_stay_text_in_the_comment(recordings, tmp_path, name):
    copy = with_ids(recordings["leak"], tmp_path / "copy", lambda each: f"{each} {name}")
    for text in (markdown(copy), markdown(copy, recordings["clean"])):
        left = without_code(text)
        for scrap in ("<script", "<img", "@somebody", "https://", "](", "**b**"):
            assert scrap not in left
        columns = 0
        for line in text.splitlines():
            # A bare bar ends an entry, also within code.
            bars = line.replace("\\|", "").count("|") if line.startswith("| ") else 0
            assert columns in (0, bars) or not bars, line
            columns = bars


@pytest.mark.slow
def test_long_names_do_not_make_a_long_comment(recordings, tmp_path):
    copy = with_ids(recordings["leak"], tmp_path / "copy", lambda each: each + "x" * 10_000)
    for directories in ((copy,), (copy, recordings["clean"]), (copy,) * 40):
        text = markdown(*directories)
        assert len(text) <= CHARACTERS_MAX
    assert "more parts of this report left out" in text


def test_the_document_has_numbers_that_add_up(recordings):
    [told] = document(recordings["leak"])["recordings"]
    equation = told["equation"]
    parts = ("available_tokens", "evictable_tokens", "protected_tokens")
    assert sum(equation[part] for part in parts) == equation["accounted_tokens"]
    assert equation["total_tokens"] - equation["accounted_tokens"] == equation["gap_tokens"]
    assert equation["gap_pages"] * equation["page_size_tokens"] == equation["gap_tokens"]
    assert told["episodes"]["of"] == len(told["episodes"]["rows"])
    open_pages = sum(row["pages"] for row in told["owners"]["rows"] if row["closed_audit"] is None)
    assert open_pages == told["final_gap"]["pages"]
    assert all(check["passed"] for check in told["checks"])
    assert told["made"]["options"]["seed"] == 4


def test_a_mismatch_while_requests_ran_adds_up_too(recordings):
    [told] = document(recordings["busy"])["recordings"]
    equation = told["equation"]
    assert not equation["quiet"]
    parts = [name for name in equation if name.endswith("_tokens")][:5]
    assert sum(equation[part] for part in parts) == equation["accounted_tokens"]
    assert equation["total_tokens"] - equation["accounted_tokens"] == equation["gap_tokens"]


def test_the_document_of_two_has_their_comparison(recordings):
    told = document(recordings["leak"], recordings["clean"])
    compared = told["comparison"]
    assert compared["change"] == "gone"
    assert compared["episode_counts"]["disappeared"] == compared["episodes"]["of"]
    assert compared["requests"]["changed"]["of"] == len(compared["requests"]["changed"]["rows"])
    assert document(recordings["leak"])["comparison"] is None


def test_the_document_says_it_all_where_the_page_is_cut(recordings):
    """Owners, events and requests are rows of the recording, not of the page's short tables."""
    [told] = document(recordings["leak"])["recordings"]
    owners = pq.read_table(Path(recordings["leak"]) / "owners.parquet").num_rows
    assert told["owners"]["of"] == owners
    assert {row["outcome"] for row in told["faulted_events"]["rows"]} >= {"lost"}


def test_what_is_drawn_is_there_as_numbers_that_add_up(recordings, tmp_path):
    from reports.outputs.together import plan_outputs, write_outputs

    outputs = plan_outputs([tmp_path / "leak.json"])
    write_outputs([recordings["leak"]], outputs)
    [told] = json.loads((tmp_path / "leak.json").read_text())["recordings"]
    equation, states = told["equation"], told["page_map"]["states_pages"]
    assert told["page_map"]["pool"] == equation["pool"]
    assert states["stalled"] == equation["gap_pages"]
    assert sum(states.values()) * equation["page_size_tokens"] == equation["total_tokens"]
    everybody = told["latency"]["groups"][0]
    assert (
        everybody["finished"] == told["requests"]["finished"] == everybody["end_to_end"]["counted"]
    )
    assert 0 < everybody["first_token"]["p50_us"] <= everybody["end_to_end"]["slowest_us"]
