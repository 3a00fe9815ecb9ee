"""Whatever stands where a verb is to write: nothing that is not ours changes, whatever happens.

Every verb's output is put on every creature of the zoo, spelled in many ways, on disks that fail; all
of the sandbox is compared before and after.
"""

from __future__ import annotations

import os
import zlib

import creatures_meanwhile
import creatures_not_ours
import creatures_of_ours
import pytest
from cage import CREATURES, SPELLINGS, meet
from file_helpers import VERBS
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

#: Cases beside those of which there is one for each verb and creature; `make kills` tries more.
CASES = int(os.environ.get("KVREPLAY_ZOO_CASES", "100"))


def of_the(verb):
    return CREATURES["folder" if verb.is_folder else "file"]


def test_creatures_are_of_all_rooms():
    rooms = {each.__module__ for many in CREATURES.values() for each in many}
    assert rooms == {
        each.__name__ for each in (creatures_not_ours, creatures_of_ours, creatures_meanwhile)
    }


@pytest.mark.parametrize("name", VERBS)
def test_no_verb_changes_what_is_not_its_own(zoo, tmp_path, name):
    """Once on every creature; spelling, force and content go round and differ from verb to verb."""
    start = zlib.crc32(name.encode())
    for at, made in enumerate(of_the(VERBS[name]), start):
        how = SPELLINGS[(at + at // len(SPELLINGS)) % len(SPELLINGS)]
        meet(tmp_path, zoo, VERBS[name], made, how, bool(at // 3 % 2), at % 1000)


@settings(max_examples=CASES, derandomize=True, database=None)
@given(st.data(), st.sampled_from(list(VERBS)), st.sampled_from(SPELLINGS))
def test_nor_in_any_other_combination(zoo, tmp_path_factory, data, name, how):
    made = data.draw(st.sampled_from(of_the(VERBS[name])))
    force, number = data.draw(st.booleans()), data.draw(st.integers(0, 999))
    meet(tmp_path_factory.mktemp("zoo"), zoo, VERBS[name], made, how, force, number)
