"""Results of matrices that were never run: rows of results.parquet with only what matters filled in."""

import itertools
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq

from replay.matrix.results_schema import RESULTS_SCHEMA
from reports.outputs.matrix.outputs import default_page, write_matrix_outputs
from reports.outputs.together import plan_outputs

#: A text that would run, break out or be markup if anything forgot to escape it.
HOSTILE = (
    "<script>document.title='run'</script><img src=x onerror=document.title='run'>]]>"
    "\"'`` | [a](https://example.org) **b** @all #1"
)

MATRIX = {
    "schema": "kvreplay.matrix/1",
    "name": "nightly",
    "file": {"path": "ci/nightly.kvmatrix.toml", "sha256": "ab" * 32, "text": ""},
    "shard": None,
    "cells": 0,
    "kvreplay": "0.1.0",
}

_VERDICTS = {
    "clean": "every page was accounted for in every audit",
    "transient": "the gap closed",
    "persistent": "532 pages still unaccounted for when nothing was left to come",
    "inconclusive": "nothing was tested: the rule 'late' never fired",
}


def row(number=0, **columns):
    """A cell that passed with a clean verdict, but for what is said otherwise."""
    verdict = columns.get("verdict", "clean")
    name = columns.get("cell", f"cell-{number}") or ""
    slug = re.sub(r"[^a-z0-9.]+", "-", name.lower())[:60].strip("-") + f"-{number:08x}"
    return {
        "number": number,
        "cell": name,
        "trace": "traces/toolagent.parquet",
        "profile": "hardened",
        "topology": "tp8/dp8",
        "page_size": 64,
        "plan": "builtin:drop-one",
        "seed": 1,
        "outcome": "passed",
        "expected": "verdict = clean",
        "expected_line": 12,
        "verdict": verdict,
        "why": _VERDICTS.get(verdict),
        "faults_planned": 3,
        "faults_landed": 3,
        "faults_observed": 3,
        "rules_never_fired": [],
        "rules_without_effect": [],
        "recording": f"cells/{slug}",
        "report": f"cells/{slug}.html",
        "reproduce": f"kvreplay run traces/toolagent.parquet --profile hardened --seed {number}",
        "timing_cell_s": 0.25,
        **columns,
    }


def table(rows):
    """Rows as results.parquet has them; columns that a row lacks are null."""
    return pa.Table.from_pylist(
        [{name: each.get(name) for name in RESULTS_SCHEMA.names} for each in rows], RESULTS_SCHEMA
    )


def thousand_cells():
    """1,000 cells: five profiles, two topologies, ten plans, ten seeds; some of every outcome."""
    profiles = (
        "sglang-0.4.6.post3",
        "sglang-0.4.6.post4",
        "sglang-0.5.23",
        "vllm-0.33",
        "hardened",
    )
    plans = (
        "builtin:late-completion-after-timeout",
        "builtin:duplicate-after-reuse",
        "builtin:lost-completion",
        "plans/reorder.toml",
        "plans/misroute.toml",
        "plans/early.toml",
        "plans/partial.toml",
        "plans/rank-loses-two-seconds.toml",
        "plans/stale-event.toml",
        "none",
    )
    every = itertools.product(profiles, ("tp8/dp8", "tp4/dp4"), plans, range(1, 11))
    return [_one_of_many(number, *axes) for number, axes in enumerate(every)]


def _one_of_many(number, profile, topology, plan, seed):
    leaks = plan == "builtin:lost-completion" and profile != "hardened"
    heals = plan == "plans/reorder.toml"
    verdict = "persistent" if leaks else "transient" if heals else "clean"
    columns = {"expected": f"verdict = {verdict}", "verdict": verdict, "profile": profile}
    if leaks:
        columns |= {
            "equation": "decode0/dp3: available 13824256 + evictable 0 + protected 0 = 13824256, "
            "total 13858304: gap 34048 tokens = 532 pages of 64",
            "kinds": "orphaned",
            "growth": "one-off",
            "engine_message": "token_to_kv_pool_allocator memory leak detected!\navailable=13824256",
        }
    columns |= {
        7: {"outcome": "crashed", "verdict": None, "error": "the worker died of signal 11"},
        99: {
            "outcome": "timed-out",
            "verdict": None,
            "error": "30 s of wall clock were not enough",
        },
        123: {"outcome": "failed", "because": "expected clean, found persistent"},
        321: {"outcome": "failed", "because": "heal_us_max 2500000 is over 2000000"},
        456: {"outcome": "out-of-memory", "verdict": None, "error": "2 GiB were not enough"},
        789: {
            "outcome": "inconclusive",
            "verdict": "inconclusive",
            "because": "the rule 'late' never fired",
            "rules_never_fired": ["late"],
        },
    }.get(number, {})
    name = f"{profile} {topology} {plan} seed {seed}"
    line = f"kvreplay run traces/toolagent.parquet --profile {profile} --set topology={topology}"
    return row(
        number,
        cell=name,
        topology=topology,
        plan=plan,
        seed=seed,
        reproduce=f"{line} --plan {plan} --seed {seed} --expect clean",
        **columns,
    )


def write_matrix(directory, rows, **changes):
    """A matrix directory with these results and a page for each report."""
    (directory / "cells").mkdir(parents=True, exist_ok=True)
    pq.write_table(table(rows), directory / "results.parquet")
    matrix = {**MATRIX, "cells": len(rows), **changes}
    (directory / "matrix.json").write_text(json.dumps(matrix))
    for each in rows:
        if each["report"] and each["report"].startswith("cells/"):
            page = f"<!doctype html><title>report {each['number']}</title>"
            (directory / each["report"]).write_text(page)
    return directory


def draw_matrix_page(directory):
    """Draw its page as `kvreplay report` does."""
    write_matrix_outputs(directory, plan_outputs((default_page(directory),)))
