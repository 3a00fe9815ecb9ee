"""A suppressions file that is wrong is one sentence: where, what, and how to mend it."""

import dataclasses
from datetime import date
from pathlib import Path

import pytest
from finding_strategies import TODAY, findings
from hypothesis import given
from hypothesis import strategies as st

from replay.errors import SuppressionError
from replay.verdict.findings.gate import suppressions_text
from replay.verdict.findings.suppressions import (
    Accepted,
    accept,
    parse_suppressions,
    read_suppressions,
)

GOOD = """\
[[suppression]]
name = "lost"
reason = "known since May"
expires = 2027-03-31
fault = "drop"
"""


def complaint(text):
    with pytest.raises(SuppressionError) as caught:
        parse_suppressions(text, Path("accepted.toml"))
    message = str(caught.value)
    assert "\n" not in message and message.startswith("accepted.toml")
    return message


def test_a_good_one_is_read():
    found = parse_suppressions(GOOD, Path("accepted.toml"))
    (entry,) = found.entries
    assert (entry.name, entry.expires, entry.fault) == ("lost", date(2027, 3, 31), ["drop"])
    assert found.where(entry) == "accepted.toml:1"
    quoted = GOOD.replace("2027-03-31", '"2027-03-31"')
    assert parse_suppressions(quoted, Path("accepted.toml")).entries == found.entries
    assert parse_suppressions("", Path("accepted.toml")).entries == ()


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('reason = "known since May"\n', "", 1, "suppression[1].reason: missing"),
        ("known since May", "", 3, "say why this is accepted"),
        ("known since May", "  ", 3, "say why this is accepted"),
        ("expires = 2027-03-31\n", "", 1, "suppression[1].expires: missing"),
        ("2027-03-31", "2027-03-31T10:00:00", 4, "expected a date such as 2027-03-31"),
        ("2027-03-31", '"soon"', 4, "expected a date such as 2027-03-31"),
        ("2027-03-31", '"2027-02-30"', 4, "no such day"),
        ("2027-03-31", "20270331", 4, "expected a date such as 2027-03-31"),
        ("fault =", "falt =", 5, "no such key; did you mean fault?"),
        ('"drop"', '"dorp"', 5, "did you mean drop?"),
        ("fault = \"drop\"", 'category = "leaked"', 5, "there are definitely leaked, stuck"),
        ("fault = \"drop\"", 'kind = "stick"', 5, "did you mean stuck?"),
        ("fault = \"drop\"", 'fingerprint = "0894"', 5, "not a fingerprint"),
        ("fault = \"drop\"", "pool = []", 5, "at least 1"),
        ("fault = \"drop\"", 'pool = ""', 5, "use '*'"),
        ("fault = \"drop\"", "pages_max = -1", 5, "greater than or equal to 0"),
        ("fault = \"drop\"", "pages_max = 5", 1, "matches everything; give at least one of"),
        ('name = "lost"', 'name = ""', 2, "give it a name"),
        ("[[suppression]]", "[[supression]]", 1, "did you mean suppression?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(old, new, line, words):
    message = complaint(GOOD.replace(old, new))
    assert message.startswith(f"accepted.toml:{line}: ")
    assert words in message


def test_names_must_differ():
    assert complaint(GOOD + GOOD).startswith("accepted.toml:6: ")
    assert "names must differ" in complaint(GOOD + GOOD)


def test_what_is_no_toml_or_no_file_is_said(tmp_path):
    assert "not valid TOML" in complaint("[[suppression")
    for name, content in (("binary.toml", b"\xff\xfe"), ("big.toml", b"#" * (16 * 2**20 + 1))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SuppressionError, match=name):
            read_suppressions(tmp_path / name)
    for path in (tmp_path, tmp_path / "missing.toml"):
        with pytest.raises(SuppressionError, match="cannot read the suppressions"):
            read_suppressions(path)


def test_what_is_generated_says_when_there_is_nothing():
    assert suppressions_text([("hardened", ())]).startswith("# No finding")


@given(
    st.lists(findings, max_size=3),
    st.text('a*?[]"\\\n\x7f', min_size=1),
    st.text("\n\r\x00\x7f[]a"),
)
def test_what_is_generated_accepts_all_that_lasts_under_that_profile_alone(drawn, profile, blame):
    """Whatever the profile is called and the blame says: neither is more than text."""
    found = [[dataclasses.replace(each, blame=blame) for each in mine] for mine in drawn]
    text = suppressions_text([(profile, mine) for mine in found])
    filled = text.replace('reason = ""', 'reason = "known"').replace(
        'expires = ""', "expires = 2027-03-31"
    )
    accepted = Accepted(parse_suppressions(filled, Path("accepted.toml")), TODAY)
    for mine in found:
        outcome = accept(mine, profile, accepted)
        assert all(each.suppressed_by for each in outcome.findings if each.lasts)
        assert outcome.outgrown == ()
        other = accept(mine, "b", accepted)
        assert not any(each.suppressed_by for each in other.findings)
