"""Every public report whose lines are quoted verbatim says its own numbers."""

import json
import os
from pathlib import Path

import pytest
from composed_logs import read

from replay.server_lines.records import Load, Observation, Transfer

#: Reports under these names have lines in which no engine says anything of its accounting.
SILENT: frozenset[str] = frozenset()
TERMS = ("available", "evictable", "protected", "session_held", "uncached", "total")


def reports_folder():
    default = Path(__file__).parents[3] / "shared" / "data"
    return Path(os.environ.get("KVREPLAY_DATA", default)) / "field-reports"


@pytest.fixture(scope="module")
def reports():
    file = reports_folder() / "reports.jsonl"
    if not file.is_file() and "CI" not in os.environ:
        pytest.skip(f"no field reports at {file}; set KVREPLAY_DATA to the folder of data sets")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    logs = {path.stem: path.read_bytes() for path in sorted(file.parent.glob("logs/*.log"))}
    quoted = [
        (row["id"], row["numbers"], row["log"].encode())
        for row in rows
        if row["log_kind"] == "verbatim"
    ]
    files = [
        (row["id"], row["numbers"], data)
        for row in rows
        for stem, data in logs.items()
        if stem.removesuffix("-control") == row["id"]
    ]
    assert len(files) == len(logs)
    return quoted + files


def test_every_quoted_report_says_something(reports):
    assert len(reports) > 40
    silent = {name for name, _, data in reports if not read(data)}
    assert silent == SILENT


def test_numbers_agree_with_the_reports(reports):
    checked = 0
    for name, numbers, data in reports:
        seen = [record for record in read(data) if isinstance(record, Observation)]
        by_pool = {one.pool: one for one in seen}
        for pool, told in numbers_by_pool(numbers).items():
            one = by_pool[pool] if pool else seen[-1]
            for term in TERMS:
                if term in told:
                    assert getattr(one, term) == told[term], (name, pool, term)
                    checked += 1
            if "diff" in told:
                assert one.gap == -told["diff"], (name, pool)
                checked += 1
    assert checked >= 60


def numbers_by_pool(numbers):
    if "available" in numbers:
        return {"": numbers}
    if "req_available" in numbers:
        slots = {"available": "req_available", "total": "req_total", "diff": "req_diff"}
        return {"req_to_token": {term: numbers[key] for term, key in slots.items()}}
    return {pool: told for pool, told in numbers.items() if isinstance(told, dict)}


def test_loads_and_transfers_agree_with_the_reports(reports):
    by_name = {name: (numbers, read(data)) for name, numbers, data in reports}
    numbers, seen = by_name["vllm-27073"]
    assert [load.running for load in seen] == numbers["running"]
    assert [load.queued for load in seen] == numbers["waiting"]
    assert [round(load.usage * 100, 1) for load in seen] == numbers["usage"]
    numbers, seen = by_name["sglang-6778"]
    assert [load.used_tokens for load in seen if isinstance(load, Load)] == numbers["token"]
    for name, (numbers, seen) in by_name.items():
        transfers = [record for record in seen if isinstance(record, Transfer)]
        if transfers and "timeout_s" in numbers:
            timeouts = {one.timeout_s for one in transfers} - {None}
            assert timeouts == {numbers["timeout_s"]}, name
        if "delayed_blocks" in numbers:
            assert [one.pages for one in transfers if one.pages] == numbers["delayed_blocks"]
