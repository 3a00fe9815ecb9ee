"""The replays of the net, and what each of them says, free of how its tables are laid out."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field

from faults.catalogue import builtin_names, builtin_plan
from replay.profiles.catalogue import builtin_profiles
from replay.profiles.defects import all_defects
from replay.recording.event_results import Result
from replay.recording.kinds import Outcome
from replay.recording.reader import Recording
from replay.recording.tables import TABLES
from replay.run.options import RunOptions
from replay.run.replay_once import replay
from traces.synthesis import write_synthetic_trace
from traces.synthesis_options import SynthesisOptions

#: What defects need to show, beside faults; as `kvreplay profiles` says in words.
DEFECT_NEEDS = {
    "peer-is-never-told": ("client_abort_reaches=decode",),
    "early-notice-is-lost": ("decode_tells_prefill=true",),
    "completions-counted-by-number": ("prefill_tp=2", "decode_dp=1"),
}
#: Several faults at once, of every seed its own.
MIXED = {"drop": 0.03, "delay": (0.05, 700.0), "duplicate": 0.05}
#: Parts of summary.json and run.json that may differ, that say again what others say, or are prose.
SUMMARY_LEFT_OUT = {"schema", "timing", "recording_sha256", "reproduce", "why"}
RUN_LEFT_OUT = {"schema", "environment", "kvreplay", "trace", "reproduce", "profile"}


@dataclass(frozen=True)
class NetReplay:
    """One replay: its options without the trace, and which trace."""

    options: dict = field(default_factory=dict)
    trace: str = "busy"


def net_replays():
    """Every profile, built-in plan and defect, topologies, page sizes, swarms and repeats, by name."""
    cases, profiles = {}, sorted(builtin_profiles())
    for profile in profiles:
        cases[f"profile {profile}"] = NetReplay({"profile": profile, **MIXED})
        cases[f"clean {profile}"] = NetReplay({"profile": profile})
    for name in builtin_names():
        facts = builtin_plan(name).facts
        is_defect = facts.shows in all_defects()
        cases[f"plan {name}"] = NetReplay(
            {
                "profile": "hardened" if is_defect else facts.shows,
                "defects": (facts.shows,) if is_defect else (),
                "settings": settings(facts.needs),
                "plan": f"builtin:{name}",
            }
        )
    for name in all_defects():
        cases[f"defect {name}"] = NetReplay(
            {
                "profile": "hardened",
                "defects": (name,),
                "settings": settings(DEFECT_NEEDS.get(name, ())),
                **MIXED,
            }
        )
    for profile in ("hardened", "sglang-0.5.23", "vllm-0.33"):
        for ranks in (1, 2, 8):
            for page_size in (1, 16, 64):
                asked = (f"decode_dp={ranks}", f"page_size={page_size}")
                cases[f"{profile} dp {ranks} page {page_size}"] = NetReplay(
                    {"profile": profile, "settings": settings(asked), "seed": ranks, **MIXED}
                )
    for seed in range(8):
        cases[f"swarm {seed}"] = NetReplay(
            {"profile": profiles[seed % len(profiles)], "seed": seed, "swarm": True}
        )
    for profile in ("sglang-0.4.6.post4", "hardened"):
        cases[f"repeats {profile}"] = NetReplay({"profile": profile, "repeat": 3, **MIXED})
        cases[f"every step {profile}"] = NetReplay(
            {"profile": profile, "every_step": True, "stop_on_engine_error": True, **MIXED}
        )
        small = settings(("total_tokens=16384", "prefill_total_tokens=16384"))
        cases[f"small pools {profile}"] = NetReplay(
            {"profile": profile, "settings": small, **MIXED}, trace="sessions"
        )
    return cases


def settings(needs):
    return tuple(tuple(need.split("=", 1)) for need in needs)


def write_net_traces(folder):
    """The two traces of the net: many at once with aborts, and sessions that share prompts."""
    shared = {"input_tokens_max": 4_000, "output_tokens_max": 200, "prompt_tokens_median": 256}
    write_synthetic_trace(
        SynthesisOptions(
            requests=150,
            seed=16,
            rate_per_s=25.0,
            abort_rate=0.1,
            abort_s_mean=2.0,
            output_tokens_median=32,
            system_tokens_median=256,
            **shared,
        ),
        folder / "busy.parquet",
    )
    write_synthetic_trace(
        SynthesisOptions(
            requests=90,
            seed=61,
            rate_per_s=12.0,
            output_tokens_median=64,
            system_tokens_median=512,
            tenants=2,
            turns_mean=4.0,
            **shared,
        ),
        folder / "sessions.parquet",
    )


def facts(case, traces, out):
    """What one replay says: of every column of every table the fingerprint of its values, and
    likewise of every part of the summary and of what run.json says of what happened.
    """
    request = RunOptions(trace=str(traces / f"{case.trace}.parquet"), **case.options).to_request(
        "cpu"
    )
    replay(request, out)
    recording = Recording.open(out)
    found = {}
    for name in (*TABLES, "episodes"):
        table = recording.table(name)
        columns = {column: table[column].to_pylist() for column in table.column_names}
        if name == "events":
            results = zip(columns["outcome"], columns["detail"], strict=True)
            columns["result"] = [Result(Outcome(word), more).text for word, more in results]
        found[name] = {column: fingerprint(values) for column, values in columns.items()}
    summary = recording.summary()
    found["summary"] = {
        key: fingerprint(value) for key, value in summary.items() if key not in SUMMARY_LEFT_OUT
    }
    found["run"] = {
        key: fingerprint(value) for key, value in recording.run.items() if key not in RUN_LEFT_OUT
    }
    return found


def fingerprint(value):
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def missing(before, now):
    """The columns and parts of which the values are no longer there.

    One that still has its name must have its values; one that has not may be called as none was before.
    """
    lost = []
    for place, columns in before.items():
        renamed = Counter(value for name, value in now[place].items() if name not in columns)
        for name, value in columns.items():
            if name in now[place]:
                is_there = now[place][name] == value
            else:
                is_there = renamed[value] > 0
                renamed[value] -= 1
            if not is_there:
                lost.append(f"{place}.{name}")
    return lost
