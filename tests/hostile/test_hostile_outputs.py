"""Hostile names in everything that can be named, and every output of every verb: all of it shows."""

import json
import os
import re
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hostile_strings import PIECES, STRINGS, composed, harmless, hidden, structure, texts_in
from hypothesis import HealthCheck, example, given, settings
from lxml import etree
from markdown_it import MarkdownIt

from faults.plan import load_plan
from replay.cli import run_command_line
from replay.engine_log.queue_lengths import Requests
from replay.engine_log.servers import LogRank
from replay.engine_log.vllm import expired_holds
from replay.recording.reader import Recording
from reports.compare.comparison import compare_if_two
from reports.compare.page import make_comparison_part
from reports.drawings.step_chart import WIDE, svg_of
from reports.drawings.timeline import make_story, timeline_chart
from reports.evidence import load
from reports.outputs.markdown import code, code_in_table, fenced, report_markdown, table_row
from reports.outputs.matrix.junit import junit_xml
from reports.outputs.matrix.markdown import matrix_markdown
from reports.outputs.matrix.page import render_matrix_page
from reports.page import render_report
from traces.dataset import TraceWriter
from traces.schema import TraceRequest
from traces.text import toml_string

COUNT = 2 * len(PIECES)
PROFILES = ("sglang-0.4.6.post4", "sglang-0.5.23", "vllm-0.33")

PLAN = """\
comment = {comment}

[[rule]]
name = {lost}
fault = "drop"
request_ids = [{ids}]

[[rule]]
name = {late}
fault = "delay"
delay_us = 500_000
session_ids = [{session}]

[[rule]]
name = {never}
fault = "drop"
request_ids = [{nobody}]
"""

MATRIX = """\
name = {name}

[axes]
trace = [{trace}]
profile = ["hardened", "sglang-0.4.6.post4"]
plan = [{plan}]
topology = ["tp1:tp1"]

[[expect]]
because = {because}
verdict = "clean"
"""


class World:
    """A trace, plans and recordings in which every name is as `name` makes it of a hostile one."""

    def __init__(self, root, strings, name):
        self.root, self.ids = root, [name(each) for each in strings]
        # No file can be called with a slash or a NUL, or with so many bytes.
        calls = [re.sub(r"[/\x00\n]", "", each)[:40] for each in self.ids]
        self.trace = root / f"{calls[0]}{calls[5]}.parquet"
        self.plan = root / f"{calls[1]}{calls[7]}.toml"
        self.recordings = root / f"{calls[4]}{calls[10].replace('x', '')}"
        with TraceWriter(self.trace, source=self.ids[3], block_size=16) as writer:
            for at, request_id in enumerate(self.ids):
                writer.write(
                    TraceRequest(
                        request_id, at * 100_000, 200 + at, 10, session_id=self.ids[-1 - at // 4]
                    )
                )
        self.plan.write_text(
            PLAN.format(
                comment=toml_string(self.ids[2]),
                lost=toml_string(f"lost {self.ids[6]}"),
                late=toml_string(f"late {self.ids[8]}"),
                never=toml_string(f"never {self.ids[10]}"),
                ids=", ".join(map(toml_string, self.ids[::2])),
                session=toml_string(self.ids[-1]),
                nobody=toml_string(f"nobody {self.ids[12]}"),
            ),
            encoding="utf-8",
        )
        self.recordings.mkdir()

    def recording(self, profile):
        return self.recordings / profile


@pytest.fixture(scope="module")
def strings():
    return composed(1, COUNT)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory, strings):
    """The hostile one and a harmless one, replayed on each engine."""
    made = []
    for kind, name in (("hostile", str), ("harmless", harmless)):
        world = World(tmp_path_factory.mktemp(kind), strings, name)
        for profile in PROFILES:
            words = [
                "run",
                world.trace,
                "--profile",
                profile,
                "--plan",
                world.plan,
                "--device",
                "cpu",
            ]
            words += [
                "--out",
                world.recording(profile),
                "--engine-log",
                world.root / f"{profile}.log",
            ]
            assert run_command_line([str(each) for each in words]) in (0, 1), profile
        made.append(world)
    return made


@pytest.fixture
def shown(capfd):
    """Run a command line and return what a terminal got of it, all of which shows."""

    def run(*words, codes=(0, 1, 3)):
        capfd.readouterr()
        code = run_command_line([str(each) for each in words])
        out, err = capfd.readouterr()
        assert code in codes, err
        assert hidden(out) == hidden(err) == [], words
        return out, err

    return run


# The terminal.


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_runs(worlds, shown, as_json):
    world = worlds[0]
    for profile in PROFILES:
        words = ("run", world.trace, "--profile", profile, "--plan", world.plan, "--device", "cpu")
        out, err = shown(*words, *as_json)
        assert err.startswith("reproduce: kvreplay run ")
        if as_json:
            summary = json.loads(out)
            owners = {owner["request_id"] for owner in summary["evidence"]["owners"]}
            assert not owners or owners <= set(world.ids)


@pytest.mark.slow
def test_lives_of_all_requests_by_their_hostile_ids(worlds, shown):
    world = worlds[0]
    recording = world.recording(PROFILES[0])
    shown("explain", recording, "--tables-only")
    for request_id in world.ids:
        shown("explain", recording, "--tables-only", "--request", request_id)
        out, _ = shown("explain", recording, "--tables-only", "--request", request_id, "--json")
        assert json.loads(out)["subject"]["name"] == request_id
    _, err = shown("explain", recording, "--request", "nobody\x1b\u202e", codes=(2,))
    assert "nobody\\x1b\\u202e" in err
    shown("explain", recording, "--page", "decode0/dp0:\x1b1", codes=(2,))


@pytest.mark.slow
def test_traces(worlds, shown, tmp_path, monkeypatch):
    monkeypatch.setenv("KVREPLAY_ANONYMIZE_KEY", "k" * 32)
    world = worlds[0]
    for as_json in ((), ("--json",)):
        shown("trace", "inspect", world.trace, *as_json)
        shown("trace", "inspect", world.trace, "--against", world.trace, *as_json)
        out = tmp_path / "\x1b[31m\u202eout.parquet"
        shown(
            "trace",
            "slice",
            world.trace,
            "-o",
            out,
            "--session",
            world.ids[-1],
            "--force",
            *as_json,
        )
        shown("trace", "synth", "-o", out, "--requests", 5, "--force", *as_json)
        shown("trace", "synth", "-o", out, "--like", world.trace, "--force", *as_json)
        shown("trace", "anonymize", world.trace, "-o", out, "--force", *as_json)
    out, _ = shown("trace", "inspect", world.trace, "--json")
    assert hidden(json.loads(out)["source"]) == []


def test_errors_and_warnings(worlds, shown, tmp_path):
    world = worlds[0]
    shown("run", world.plan, "--profile", "hardened", codes=(2,))
    shown("run", world.trace, "--profile", "hard\x1b\u202e", codes=(2,))
    shown("run", world.trace, "--profile", "hardened", "--plan", world.trace, codes=(2,))
    shown(
        "run", world.trace, "--profile", "hardened", "--set", "page_size=\x1b]0;x\x07", codes=(2,)
    )
    shown("run", world.trace, "--profile", "hardened", "--delay", "\x1b\u202e", codes=(2,))
    shown("run", f"{world.trace}\x1b", "--profile", "hardened", codes=(2,))
    shown("\x1b[31mrun\u202e", codes=(2,))
    shown("run", "--\x1b\u202e", codes=(2,))
    shown("faults", "\x1b\u202e", codes=(2,))
    shown("faults", "drop", "\x1b\u202e", codes=(2,))
    shown("profiles", "\x1b\u202e", codes=(2,))
    shown("diagnose", "\x1b\u202e", codes=(2,))
    shown("matrix", "list", "\x1b\u202e", codes=(2,))
    shown("report", "\x1b\u202e", codes=(2,))
    shown("shrink", "\x1b\u202e", codes=(2,))
    for text in ('"\x1b', '[[rule]]\nname = "\\u001b\\u202e"\nfault = "\\u009b"', "\u202e = 1"):
        (tmp_path / "p.toml").write_text(text, encoding="utf-8")
        shown(
            "run", world.trace, "--profile", "hardened", "--plan", tmp_path / "p.toml", codes=(2,)
        )
        shown(
            "run",
            world.trace,
            "--profile",
            "hardened",
            "--suppressions",
            tmp_path / "p.toml",
            codes=(2,),
        )
        shown("matrix", "list", tmp_path / "p.toml", codes=(2,))


def test_names_of_files_that_are_no_text(worlds, shown, tmp_path):
    path = Path(os.fsdecode(bytes(tmp_path) + b"/\xff\x1b.parquet"))
    path.write_bytes(worlds[0].trace.read_bytes())
    out, _ = shown("trace", "inspect", path)
    assert "\\udcff\\x1b.parquet" in "".join(out.split())
    shown("trace", "inspect", f"{path}2", codes=(2,))


def test_diagnoses_of_their_logs_and_of_others(worlds, shown, tmp_path):
    world = worlds[0]
    for profile in PROFILES:
        shown("diagnose", world.root / f"{profile}.log", codes=(0, 1, 3))
    hostile = tmp_path / "\x1b[31m\u202e.log"
    line = (
        "[2026-01-12 10:00:0{} DP\u202e1 TP0] {}pool memory leak detected! [full] total=4096, "
        "available=4032, evictable=0, protected=0, session_held=0, uncached=0 {}\n"
    )
    text = "".join(line.format(at % 10, piece, piece) for at, piece in enumerate(PIECES))
    hostile.write_text(text, encoding="utf-8")
    for as_json in ((), ("--json",)):
        shown("diagnose", hostile, *as_json)


@pytest.mark.slow
def test_shrinking_writes_files_that_show(worlds, shown, tmp_path):
    world, out = worlds[0], tmp_path / "\x1b[31m\u202eshrunk"
    words = ("shrink", world.recording(PROFILES[0]), "-o", out, "--max-replays", 40)
    shown(*words)
    shown(*words, "--json")
    plan = out / "plan.toml"
    assert hidden(plan.read_text(encoding="utf-8")) == []
    assert [rule.fault for rule in load_plan(plan).rules] == ["drop"]
    for path in out.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert hidden(text) == []
        compile(text, "x.py", "exec")


# Files.


def test_engine_logs_show(worlds):
    for profile in PROFILES:
        text = (worlds[0].root / f"{profile}.log").read_text(encoding="utf-8")
        assert hidden(text) == [], profile


def test_lines_that_name_requests_are_lines(worlds):
    world = worlds[0]
    found = Requests.of_pool(
        Recording.open(world.recording("vllm-0.33")), "prefill", "prefill0/dp0"
    )
    assert set(found.words["request_id"]) == set(world.ids)
    late = {name: np.zeros(len(found), np.int64) for name in found.numbers}
    late["prefill_ended_us"] += 10**12
    rank = LogRank("prefill0/dp0", 0, (0,), ("",), 4096)
    times = {"acknowledgement_timeout_us": 1, "acknowledgement_timeout_from": "landed"}
    lines = expired_holds(rank, Requests(late, found.words), times)
    assert len(lines) == len(world.ids)
    assert all(hidden(line.text) == [] and "\n" not in line.text for line in lines)


@pytest.fixture(scope="module")
def drawn(worlds, tmp_path_factory):
    """Everything that `report` makes of both worlds: kind of world -> folder."""
    folders = []
    for world in worlds:
        folder = tmp_path_factory.mktemp("drawn")
        one, two = (str(world.recording(each)) for each in PROFILES[:2])
        names = ("one.html", "one.md", "one.json", "one.svg", "one.png")
        outputs = [word for name in names for word in ("-o", str(folder / name))]
        perfetto = ["--perfetto", str(folder / "one.perfetto.json")]
        assert run_command_line(["report", one, *outputs, *perfetto]) == 0
        outputs = [
            word for name in ("html", "md", "json") for word in ("-o", str(folder / f"two.{name}"))
        ]
        assert run_command_line(["report", one, two, *outputs]) == 0
        folders.append(folder)
    return folders


@pytest.mark.slow
def test_whatever_report_makes_shows(drawn):
    names = [path for path in drawn[0].iterdir() if path.suffix != ".png"]
    assert len(names) == 8
    for path in names:
        text = path.read_text(encoding="utf-8")
        assert hidden(text) == [], path.name
        # And it is about them.
        assert "\\x1b" in text or "\\u001b" in text or path.suffix == ".svg", path.name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one.html", "two.html"])
def test_pages_have_the_elements_of_harmless_ones(drawn, name):
    (tags, data), (wanted, _) = (
        structure((folder / name).read_text(encoding="utf-8")) for folder in drawn
    )
    assert tags == wanted
    # What the page's script shows of its data shows as well.
    assert data
    assert all(hidden(text) == [] for text in texts_in(data))


def test_json_is_true(drawn, worlds):
    document = json.loads((drawn[0] / "one.json").read_text(encoding="utf-8"))
    owners = {row["request_id"] for row in document["recordings"][0]["owners"]["rows"]}
    assert owners
    assert owners <= set(worlds[0].ids)
    trace = json.loads((drawn[0] / "one.perfetto.json").read_text(encoding="utf-8"))
    assert all(hidden(text) == [] for text in texts_in(trace["traceEvents"]))


def test_pictures_are_well_formed_and_have_the_same_elements(drawn):
    one, two = (
        [each.tag for each in etree.parse(str(folder / "one.svg")).iter()] for folder in drawn
    )
    assert one == two


@pytest.mark.parametrize("piece", PIECES[:10])
def test_charts_show_names_that_only_a_recording_can_have(worlds, piece):
    whole = make_story(load(worlds[0].recording(PROFILES[0]))).whole
    marks = replace(whole.marks, names=tuple(f"{piece}{name}" for name in whole.marks.names))
    svg = svg_of(timeline_chart(replace(whole, marks=marks), WIDE), WIDE)
    assert hidden(svg) == []
    etree.fromstring(svg)


@pytest.mark.parametrize("name", ["one.md", "two.md"])
def test_markdown_has_the_blocks_of_a_harmless_one(drawn, name):
    one, two = (markdown((folder / name).read_text(encoding="utf-8")) for folder in drawn)
    assert one == two


def test_markdown_shows_also_what_stands_in_no_code(worlds):
    two = [load(worlds[0].recording(each)) for each in PROFILES[:2]]
    hostile = "".join(PIECES)
    part = replace(
        make_comparison_part(compare_if_two(two)), warnings=(hostile,), counts=((hostile, hostile),)
    )
    assert hidden(report_markdown([], part)) == []


def markdown(text):
    """The blocks of a text, and what stands in them but code and text."""
    blocks = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    found = []
    for block in blocks:
        found.append(block.type)
        inline = {each.type for each in block.children or ()}
        found.append(tuple(sorted(inline - {"text", "code_inline", "softbreak"})))
    return found


# Matrices.


@pytest.mark.slow
def test_matrices(worlds, shown, tmp_path):
    world = worlds[0]
    file = world.root / "\x1b[31m\u202e.kvmatrix.toml"
    file.write_text(
        MATRIX.format(
            name=toml_string(world.ids[0]),
            trace=toml_string(world.trace.name),
            plan=toml_string(world.plan.name),
            because=toml_string(world.ids[5]),
        )
        .replace(f"name = {toml_string(world.ids[0])}\n", "")
        .replace(f"because = {toml_string(world.ids[5])}\n", ""),
        encoding="utf-8",
    )
    shown("matrix", "list", file)
    shown("matrix", "list", file, "--json")
    out, junit = tmp_path / "\x1b[31m\u202eout", tmp_path / "junit.xml"
    words = ("matrix", "run", file, "--jobs", 1, "--out", out, "--device", "cpu")
    told, err = shown(*words, "--junit", junit, "--markdown", tmp_path / "m.md")
    assert "\\x1b" in told + err
    for path in (junit, tmp_path / "m.md", out / "matrix.html", *out.glob("cells/*.html")):
        assert hidden(path.read_text(encoding="utf-8")) == [], path
    assert etree.parse(str(junit)).findall(".//failure")
    # Names of files are made of safe characters.
    assert all(re.fullmatch(r"[A-Za-z0-9.-]+", path.name) for path in (out / "cells").iterdir())
    shown("report", out)
    shown("report", out, "-o", tmp_path / "again.md", "--json")


@pytest.mark.slow
@given(STRINGS, STRINGS)
def test_results_of_matrices_that_anybody_wrote(one, two):
    from matrix_results import MATRIX as HEAD
    from matrix_results import row, table

    names = ("cell", "trace", "plan", "profile", "because", "expected", "why", "error", "reproduce")
    documents = []
    for change in (str, harmless):
        told = {name: change(f"{one} {name}") for name in names}
        bad = row(
            1, outcome="failed", verdict="persistent", **told, rules_never_fired=[change(two)]
        )
        odd = row(
            2,
            outcome="crashed",
            verdict=None,
            report=two,
            error=change(two),
            engine_message=change(two),
        )
        head = {**HEAD, "name": change(two), "file": {"path": change(one), "sha256": change(two)}}
        documents.append((table([bad, odd, row(3)]), head))
    hostile, calm = documents
    xml = junit_xml(*hostile)
    assert hidden(xml) == []
    tags = [[each.tag for each in ET.fromstring(junit_xml(*each)).iter()] for each in documents]
    assert tags[0] == tags[1]
    text = matrix_markdown(*hostile)
    assert hidden(text) == []
    assert markdown(text) == markdown(matrix_markdown(*calm))
    page = render_matrix_page(*hostile)
    assert hidden(page) == []
    found, data = structure(page)
    assert found == structure(render_matrix_page(*calm))[0]
    assert all(hidden(each) == [] for each in texts_in(data))


@given(STRINGS)
def test_markdown_keeps_any_string_within_its_code(text):
    assert hidden(code(text) + code_in_table(text) + fenced(text, "text")) == []
    parsed = MarkdownIt("commonmark").enable("table")
    [paragraph] = [each for each in parsed.parse(code(text)) if each.type == "inline"]
    assert {each.type for each in paragraph.children} <= {"code_inline"}
    rows = "\n".join(
        [table_row(["a", "b"]), table_row(["---", "---"]), table_row([code_in_table(text), "x"])]
    )
    assert sum(each.type == "td_open" for each in parsed.parse(rows)) == 2
    [block] = parsed.parse(fenced(text, "text"))
    assert block.type == "fence"


@pytest.mark.slow
@given(STRINGS)
@example("\x1b[31mRED\x1b[0m" * 4 + "\x9b31m\x85")  # Too long by a space that is not shown.
@settings(max_examples=6, suppress_health_check=list(HealthCheck))
def test_pages_of_any_names(tmp_path_factory, text):
    found = []
    for name in (str, harmless):
        root = tmp_path_factory.mktemp("any")
        strings = [f"{at}{text}" for at in range(16)]
        world = World(root, strings, name)
        out = root / "recording"
        words = ["run", world.trace, "--profile", PROFILES[0], "--plan", world.plan, "--out", out]
        assert run_command_line([str(each) for each in words]) in (0, 1, 3)
        page = render_report([out], charts=False)
        assert hidden(page) == []
        found.append(structure(page)[0])
    assert found[0] == found[1]


# Length.


@pytest.mark.slow
def test_megabytes_of_a_name_are_not_printed(tmp_path, shown):
    trace, long = tmp_path / "t.parquet", "\x1bq" * 500_000
    with TraceWriter(trace, source=long * 3, block_size=None) as writer:
        for at in range(8):
            request_id = f"r{at}" if at % 4 else f"{at}{long}"
            writer.write(TraceRequest(request_id, at * 100_000, 200, 10, session_id=long))
    began = time.process_time()
    out, _ = shown("trace", "inspect", trace)
    assert len(out) < 30_000
    assert "more characters)" in re.sub(r"[│\s]+", " ", out)
    assert time.process_time() - began < 5
    words = ("run", trace, "--profile", PROFILES[0], "--drop", 1, "--out", tmp_path / "r")
    assert sum(map(len, shown(*words, "--engine-log", tmp_path / "log"))) < 10_000
    assert max(map(len, (tmp_path / "log").read_text().splitlines())) < 20_000
    logged = Requests.of_pool(Recording.open(tmp_path / "r"), "prefill", "prefill0/dp0")
    assert max(map(len, logged.words["request_id"])) == 2_000
    began = time.process_time()
    told, _ = shown("explain", tmp_path / "r", "--tables-only", "--request", f"0{long}")
    assert len(told) < 10_000
    told = sum(map(len, shown("explain", tmp_path / "r", "--request", f"9{long}", codes=(2,))))
    assert told < 5_000
    assert time.process_time() - began < 10
    outputs = [word for kind in ("md", "json", "html") for word in ("-o", tmp_path / f"r.{kind}")]
    shown("report", tmp_path / "r", *outputs, "--perfetto", tmp_path / "p.json")
    assert (tmp_path / "r.md").stat().st_size < 65_536
    assert (tmp_path / "r.html").stat().st_size < 2 * 2**20
    assert (tmp_path / "p.json").stat().st_size < 2**20


# No verb prints by itself.


def test_verbs_print_through_one_function():
    """Whoever prints a string that is not kvreplay's own says it with `say`."""
    own = {"options.py", "faults.py", "bench.py", "bench_verdict.py", "doctor.py", "profiles.py"}
    root = Path(__file__).parents[2] / "replay"
    printing = re.compile(r"click\.s?echo\(|\bprint\(")
    others = [
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if path.name not in own and printing.search(path.read_text(encoding="utf-8"))
    ]
    # The first says that it was interrupted; the others print tables and bars of rich.
    allowed = {"cli.py", "commands/trace/shared.py", "commands/trace/inspect.py"}
    assert set(others) <= allowed | {"commands/matrix/progress.py"}
