"""The page as text: what it says, what it must never let through, and how it lands on disk."""

import base64
import hashlib
import json
import os
import re

import lxml.html
import pytest
from report_helpers import HOSTILE, copy_changed

from replay.cli import run_command_line
from replay.recording.reader import Recording
from reports.page import render_report, write_report


@pytest.fixture(scope="module")
def leak_page(recordings):
    return render_report([recordings["leak"]])


@pytest.fixture(scope="module")
def over_free_page(recordings):
    return render_report([recordings["over-free"]])


def scripts(page):
    """What may run; blocks of data may not, and hold nothing that could be a tag."""
    blocks = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)
    assert all("<" not in text for kind, text in blocks if "json" in kind)
    return [text for kind, text in blocks if "json" not in kind]


@pytest.mark.slow
def test_the_equation_stands_on_the_page(recordings, leak_page):
    mismatch = Recording.open(recordings["leak"]).summary()["mismatch"]
    counted = mismatch["available"] + mismatch["evictable"] + mismatch["protected"]
    assert mismatch["quiet"]
    assert mismatch["total"] - counted == mismatch["gap"] == mismatch["pages"] * 64
    text = re.sub(r"<[^>]+>", "", leak_page).replace("&minus;", "-").replace("&times;", "x")
    assert f"{mismatch['total']:,} - {counted:,} = {mismatch['gap']:,} tokens" in text
    assert f"= {mismatch['pages']} pages x 64" in text


def test_the_page_tells_the_whole_story(recordings, leak_page):
    summary = Recording.open(recordings["leak"]).summary()
    assert "PERSISTENT" in leak_page
    assert summary["engine_message"].split("\n")[0] in leak_page
    assert summary["reproduce"] in leak_page
    for words in ("Owners of the gap", "Completion events", "Episodes", "Fault rules", "never"):
        assert words in leak_page
    assert "checks failed" not in leak_page
    # Every drawing is an image with a name, but for the samples in a legend, which say nothing.
    drawings = [
        svg
        for svg in lxml.html.fromstring(leak_page).iter("svg")
        if "swatch" not in svg.get("class", "") and svg.getparent().tag != "li"
    ]
    assert drawings
    assert all(svg.xpath("ancestor-or-self::*[@role='img']/@aria-label") for svg in drawings)


def test_a_mismatch_while_requests_ran_still_adds_up(recordings):
    """The sum then has the running requests' pages in it, or it would not give the gap."""
    from reports.evidence import load
    from reports.parts.first_screen.part import make_equation

    def plain(text):
        return int(text.replace(",", "").replace("\N{MINUS SIGN}", "-"))

    found = [make_equation(load(directory)) for directory in recordings.values()]
    equations = [equation for equation in found if equation is not None]
    assert {equation.quiet for equation in equations} == {True, False}
    for equation in equations:
        accounted = sum(plain(value) for _, value in equation.terms)
        assert accounted == plain(equation.accounted)
        assert plain(equation.total) - accounted == plain(equation.gap)
        assert plain(equation.pages) * plain(equation.page_size) == plain(equation.gap)


@pytest.mark.slow
def test_nothing_from_outside_is_markup(recordings, leak_page, over_free_page):
    """Request ids, rule names, the plan's comment and the title are text and stay text."""
    titled = render_report([recordings["clean"]], title=HOSTILE)
    for page in (leak_page, over_free_page, titled):
        assert HOSTILE not in page
        assert "<img" not in page
        assert len(scripts(page)) == 1
    escaped = "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert f"r2{escaped}" in leak_page
    assert f"twice {escaped}" in over_free_page
    assert f"why {escaped}" in over_free_page


@pytest.mark.slow
def test_a_hostile_pool_name_cannot_leave_its_chart(recordings, tmp_path):
    copy = copy_changed(recordings["leak"], tmp_path / "copy")
    for path in copy.glob("*.parquet"):
        _rename_pool(path)
    text = (copy / "run.json").read_text()
    (copy / "run.json").write_text(text.replace("decode0/", json.dumps(HOSTILE)[1:-1] + "/"))
    page = render_report([copy])
    assert HOSTILE not in page
    assert "<img" not in page
    assert len(scripts(page)) == 1


def _rename_pool(path):
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    rows = table.to_pylist()
    for row in rows:
        for key in ("pool", "decode_pool"):
            if key in row:
                row[key] = row[key].replace("decode0/", HOSTILE + "/")
    pq.write_table(table.schema.empty_table().from_pylist(rows, table.schema), path)


def test_the_policy_allows_one_script_and_nothing_from_outside(leak_page):
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', leak_page)
    policy = policy.replace("&#39;", "'")
    digest = base64.b64encode(hashlib.sha256(scripts(leak_page)[0].encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    links = re.findall(r'\b(?:src|href)="([^"]*)"', leak_page)
    assert links and all(link.startswith("#") for link in links)
    assert not re.search(r"@import|url\((?!#)", leak_page)


@pytest.mark.slow
def test_ids_on_the_page_are_unique(recordings):
    page = render_report([recordings["leak"], recordings["late"], recordings["clean"]])
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page):
        assert (target[0] or target[1]) in ids


@pytest.mark.slow
def test_the_same_recording_draws_the_same_page(recordings, leak_page):
    assert render_report([recordings["leak"]]) == leak_page


def test_the_style_sheet_knows_the_colours_of_the_charts(leak_page):
    from reports.drawings.step_chart import PALETTE

    drawn = {
        f'[{kind}="{colour}"]'
        for kind, colour in re.findall(r'\b(fill|stroke)="(#[0-9a-f]{6})"', leak_page)
    }
    assert drawn
    assert set(re.findall(r'="(#[0-9a-f]{6})"', " ".join(drawn))) <= set(PALETTE.values())
    for selector in drawn:
        assert f".chart {selector}" in leak_page


@pytest.mark.slow
def test_the_command_writes_the_page(recordings, work_dir, capsys):
    code = run_command_line(
        ["report", str(recordings["leak"]), str(recordings["clean"]), "-o", "a/b.html", "--json"]
    )
    assert code == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["report"], told["recordings"]) == ("a/b.html", 2)
    assert (work_dir / "a" / "b.html").read_text().startswith("<!doctype html>")
    assert [each.name for each in (work_dir / "a").iterdir()] == ["b.html"]


def test_no_recording_is_one_sentence_and_exit_2(recordings, work_dir, capsys):
    (work_dir / "empty").mkdir()
    for directories in (["missing"], ["empty"], [str(recordings["clean"]), "missing"]):
        assert run_command_line(["report", *directories]) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        assert "not a recording" in message
    assert not (work_dir / "report.html").exists()


def test_a_recording_without_a_table_is_exit_2(recordings, work_dir, capsys):
    copy = copy_changed(recordings["leak"], work_dir / "copy")
    (copy / "owners.parquet").unlink()
    assert run_command_line(["report", "copy"]) == 2
    assert "owners.parquet: missing" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_exit_2(recordings, work_dir, capsys):
    (work_dir / "file").write_text("mine")
    (work_dir / "dir").mkdir()
    for place in ("file/report.html", "dir", "file"):
        assert run_command_line(["report", str(recordings["clean"]), "-o", place]) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        assert place in message
    assert (work_dir / "file").read_text() == "mine"
    assert sorted(each.name for each in work_dir.iterdir()) == ["dir", "file"]


@pytest.mark.slow
def test_nothing_half_written_is_left(recordings, work_dir, monkeypatch):
    """When the disk gives out while writing, the earlier page stays and no scrap does."""
    from traces.errors import OutputError

    output = work_dir / "report.html"
    write_report([recordings["clean"]], output)
    before = output.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_report([recordings["leak"]], output)
    assert output.read_bytes() == before
    assert [each.name for each in work_dir.iterdir()] == ["report.html"]
