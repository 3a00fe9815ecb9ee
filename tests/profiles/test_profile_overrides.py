"""`--set FIELD=VALUE`: what it takes, and what it says about the rest."""

import dataclasses

import pytest

from replay.errors import ProfileError
from replay.profiles.catalogue import builtin_profiles, find_profile
from replay.profiles.overrides import override

HARDENED = find_profile("hardened")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("page_size", "16", 16),
        ("total_tokens", "1_280", 1_280),
        ("mla", "false", False),
        ("decode_tells_prefill", "true", True),
        ("completion_timeout_us", "none", None),
        ("completion_timeout_us", "5", 5),
        ("decode_check_gate", "transfer,prealloc", ("transfer", "prealloc")),
        ("decode_check_gate", "", ()),
        ("check_strictness", "warn", "warn"),
        ("prefill_cache", "chunk", "chunk"),
    ],
)
def test_text_becomes_the_field_s_type(field, text, value):
    assert getattr(override(HARDENED, {field: text}), field) == value


def test_an_override_changes_nothing_else():
    changed = override(HARDENED, {"page_size": "16", "total_tokens": "1600"})
    assert dataclasses.replace(changed, page_size=64, total_tokens=13_858_304) == HARDENED
    assert override(HARDENED, {}) == HARDENED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"page_sise": "16"}, ["--set page_sise", "did you mean page_size?"]),
        ({"qqq": "1"}, ["--set qqq", "kvreplay profiles"]),
        ({"name": "mine"}, ["--set name", "no profile field"]),
        ({"page_size": "many"}, ["--set page_size", "'many'", "whole number"]),
        ({"page_size": "1.5"}, ["--set page_size", "'1.5'"]),
        ({"page_size": "none"}, ["--set page_size", "'none'"]),
        ({"page_size": "0"}, ["page_size", "at least 1"]),
        ({"page_size": "-64"}, ["page_size", "-64", "negative"]),
        ({"mla": "yes"}, ["--set mla", "'yes'", "true nor false"]),
        ({"check_strictness": "loud"}, ["--set check_strictness", "'loud'", "warn, error"]),
        ({"abort_in_transfer": "free"}, ["abort_in_transfer", "'free'", "defer"]),
        ({"total_tokens": "100"}, ["total_tokens", "100", "whole pages of 64", "64"]),
        ({"prefill_total_tokens": "100"}, ["prefill_total_tokens", "whole pages"]),
        ({"decode_tp": "6", "decode_dp": "4"}, ["decode_tp=6", "decode_dp=4"]),
        ({"waiting_timeout_us": "-1"}, ["waiting_timeout_us", "negative"]),
    ],
)
def test_what_does_not_fit_is_refused_with_its_name(changes, words):
    with pytest.raises(ProfileError) as raised:
        override(HARDENED, changes)
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize("gate", ["decode_check_gate", "prefill_check_gate"])
def test_a_gate_names_queues_that_exist(gate):
    with pytest.raises(ProfileError):
        override(HARDENED, {gate: "transfre"})


def test_profiles_are_found_by_name_and_a_typo_is_met_with_the_nearest():
    for name, profile in builtin_profiles().items():
        assert find_profile(name) == profile
        assert profile.name == name
    with pytest.raises(ProfileError, match=r"did you mean sglang-0\.4\.6\.post4"):
        find_profile("sglang-0.4.6.pst4")
    with pytest.raises(ProfileError, match="there are "):
        find_profile("zzz")
