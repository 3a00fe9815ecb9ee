"""`kvreplay profiles`: every profile, field and known bug, with where each was read."""

import dataclasses
import json
import re

import pytest

from replay.profiles.catalogue import builtin_profiles, find_profile
from replay.profiles.defects import all_defects, with_defects
from replay.profiles.overrides import as_text, override
from replay.profiles.profile import EngineProfile

NAMES = [
    "sglang-0.4.6.post3",
    "sglang-0.4.6.post4",
    "sglang-0.4.6.post5",
    "sglang-0.5.23",
    "vllm-0.33",
    "hardened",
]

#: What goes wrong in the field, as 148 public reports have it.
FIELD_MODES = {
    "completion lost and no timeout",
    "abort during or after transfer leaks",
    "peer never pulls, held until a timeout",
    "timeout frees, then a late pull or completion",
    "failed transfer not cleaned up or masked",
    "abort frees pages, a late write lands",
    "late completion for a freed request crashes",
    "duplicate, or two completions on one hold",
    "partial rank or component counted as done",
    "metadata slot or room reuse",
    "result dropped in the event loop",
    "double free",
    "wrong id or early notification",
    "ranks out of step in a collective",
    "false idle or checker false alarm",
    "expected count too high",
    "hold after abort, completion lost",
    "free before an asynchronous read is done",
    "cleanup starved at exhaustion",
    "counter drift",
    "lost control message",
}

DEFECTS = all_defects()
every_defect = pytest.mark.parametrize("name", sorted(DEFECTS))


@pytest.fixture
def listed(kvreplay):
    code, out, err = kvreplay("profiles", "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_it_lists_the_six_profiles_whole(listed):
    assert listed["schema"] == "kvreplay.profiles/1"
    assert [profile["name"] for profile in listed["profiles"]] == NAMES
    fields = {field.name for field in dataclasses.fields(EngineProfile)}
    for profile in listed["profiles"]:
        assert set(profile) == fields
        assert profile["description"]
        assert profile == json.loads(json.dumps(find_profile(profile["name"]).to_dict()))


def test_profiles_may_be_chosen_by_name(kvreplay):
    code, out, _ = kvreplay("profiles", "vllm-0.33", "--json")
    assert code == 0
    assert [profile["name"] for profile in json.loads(out)["profiles"]] == ["vllm-0.33"]


def test_every_field_has_a_type_a_default_and_a_meaning(listed):
    names = [field["name"] for field in listed["fields"]]
    expected = {field.name for field in dataclasses.fields(EngineProfile)}
    assert set(names) == expected - {"name", "description"}
    assert len(names) == len(set(names))
    for field in listed["fields"]:
        assert set(field) >= {"name", "type", "default", "meaning", "source"}
        assert field["type"]
        assert len(field["meaning"].split()) >= 2, field["name"]
        assert field["meaning"].endswith((".", ".)")), field["name"]


def test_a_source_names_an_engine_and_where_it_was_read(listed):
    """A version and a file of it, or the report of a bug that no version is known by."""
    sources = {field["name"]: field["source"] for field in listed["fields"] if field["source"]}
    assert len(sources) >= 40
    for name, source in sources.items():
        in_file = re.search(r"\b(sglang|vllm) \d+\.\d+", source) and re.search(r"\w+\.py\b", source)
        reported = re.search(r"\b(sglang|vllm) (pull|issue) \d+, see --defect ([\w-]+)", source)
        assert in_file or reported, f"{name}: {source}"
        if reported and not in_file:
            assert name in DEFECTS[reported[3]].changes


def test_what_differs_between_the_profiles_of_real_engines_has_a_source(listed):
    """A difference that nobody has read anywhere is made up."""
    real = [profile for profile in listed["profiles"] if profile["name"] != "hardened"]
    unsourced = {
        field["name"]
        for field in listed["fields"]
        if not field["source"]
        and any(profile[field["name"]] != real[0][field["name"]] for profile in real)
    }
    assert unsourced <= {"defects", "message_style", "page_size"}, sorted(unsourced)


def test_a_profile_is_shown_field_by_field(kvreplay):
    code, out, _ = kvreplay("profiles", "sglang-0.4.6.post4")
    assert code == 0
    for field in dataclasses.fields(EngineProfile):
        if field.name not in ("name", "description"):
            assert f"  {field.name} = " in out
    assert "abort_in_waiting = leak" in out


def test_every_field_mode_has_a_bug(listed):
    assert {defect["mode"] for defect in listed["defects"]} >= FIELD_MODES
    assert len({defect["mode"] for defect in listed["defects"]}) >= 21


@every_defect
def test_a_bug_says_what_it_is_and_who_has_met_it(listed, kvreplay, name):
    (defect,) = (each for each in listed["defects"] if each["name"] == name)
    assert defect["mode"] in FIELD_MODES
    assert defect["meaning"].endswith(".")
    assert defect["reports"]
    for report in defect["reports"]:
        assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+/(issues|pull)/\d+", report)
    text = kvreplay("profiles")[1]
    assert f"  {name}  ({defect['mode']})" in text
    assert defect["meaning"] in text


@every_defect
def test_a_bug_is_a_change_of_real_fields_to_values_they_can_have(name):
    hardened, changes = find_profile("hardened"), DEFECTS[name].changes
    assert changes
    assert set(changes) <= {field.name for field in dataclasses.fields(EngineProfile)}
    by_text = override(hardened, {field: as_text(value) for field, value in changes.items()})
    changed = with_defects(hardened, [name])
    assert changed == dataclasses.replace(by_text, defects=(name,))
    for field, value in changes.items():
        assert getattr(changed, field) == value
    assert any(value != getattr(hardened, field) for field, value in changes.items())


def test_no_two_bugs_are_the_same():
    changes = [tuple(sorted(defect.changes.items())) for defect in DEFECTS.values()]
    assert len(set(changes)) == len(changes)


@pytest.mark.parametrize("profile", NAMES)
def test_the_bugs_that_a_profile_names_are_in_it(profile):
    known = builtin_profiles()[profile]
    assert len(set(known.defects)) == len(known.defects)
    for name in known.defects:
        for field, value in DEFECTS[name].changes.items():
            assert getattr(known, field) == value, f"{profile}: {name} sets {field}"


@pytest.mark.parametrize("profile", NAMES)
def test_the_bugs_that_are_in_a_profile_are_named(profile):
    known = builtin_profiles()[profile]
    unnamed = {
        name
        for name, defect in DEFECTS.items()
        if name not in known.defects
        and all(getattr(known, field) == value for field, value in defect.changes.items())
    }
    assert unnamed == set()


def test_hardened_has_no_bug():
    assert find_profile("hardened").defects == ()


@pytest.mark.parametrize("verb", ["run", "reproduce"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("abort-in-waitng-leaks", "did you mean abort-in-waiting-leaks?"),
        ("late-completion-crash", "did you mean late-completion-crashes?"),
        ("zzz", "idle-check-ungated"),
        ("", "there are"),
    ],
)
def test_a_bug_nobody_knows_is_refused_with_the_nearest(
    kvreplay, make_trace, tmp_path, monkeypatch, verb, name, says
):
    monkeypatch.chdir(tmp_path)
    words = {
        "run": (make_trace(requests=3), "--profile", "hardened"),
        "reproduce": ("--available", 4032, "--total", 4096),
    }
    before = sorted(tmp_path.iterdir())
    code, out, err = kvreplay(verb, *words[verb], "--defect", name)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert f"--defect {name}: no defect of that name" in err
    assert says in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "says"),
    [("sglang-0.4.6.post", "did you mean sglang-0.4.6.post"), ("zzz", "there are sglang")],
)
def test_a_profile_nobody_knows_is_refused_with_the_nearest(kvreplay, name, says):
    for words in ((name,), ("hardened", name), (name, "--json")):
        code, out, err = kvreplay("profiles", *words)
        assert (code, out) == (2, "")
        assert says in err
