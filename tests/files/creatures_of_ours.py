"""Creatures on a place that are our outputs, links to them, or inputs of the same command."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from cage import EITHER, MADE, NOTES, REFUSED, Cage, creature, write_all
from file_helpers import VERBS, Verb, copy


@creature()
def nothing(cage: Cage) -> str:
    return MADE


@creature()
def nothing_and_no_folder_above(cage: Cage) -> str:
    cage.place = cage.work / "new" / "deep" / cage.verb.name
    return REFUSED if cage.verb.name.endswith((".parquet", ".log")) else MADE


@creature()
def a_file_above(cage: Cage) -> str:
    (cage.work / "file").write_bytes(NOTES)
    cage.place = cage.work / "file" / cage.verb.name
    return REFUSED


@creature("folder")
def empty_folder(cage: Cage) -> str:
    cage.place.mkdir()
    cage.ours.add(cage.place)
    return MADE


@creature()
def own_of_the_same_run(cage: Cage) -> str:
    cage.stand()
    return MADE


@creature()
def own_of_another_run(cage: Cage) -> str:
    if not cage.verb.other:
        return nothing(cage)
    cage.stand(cage.museum / "other" / cage.verb.name)
    return REFUSED if cage.verb.force and not cage.force else MADE


def group_of(verb: Verb) -> str:
    """Outputs of one group are one kind of thing."""
    if not verb.is_folder:
        return Path(verb.name).suffix
    same = {"hunted/found": "reproduction", "merged": "matrix"}
    return same.get(verb.name, verb.name)


@creature()
def own_of_another_kind(cage: Cage) -> str:
    others = [
        other
        for other in VERBS.values()
        if group_of(other) != group_of(cage.verb)
        and (cage.verb.is_folder or not other.is_folder or cage.number % 4 == 0)
    ]
    copy(cage.museum / cage.pick(others).name, cage.place)
    return REFUSED


@creature("folder")
def worked_in_folder_with_notes_beside(cage: Cage) -> str:
    cage.stand()
    (cage.place / "notes.txt").write_bytes(NOTES)
    (cage.place / "mine").mkdir()
    (cage.place / "mine/notes.txt").write_bytes(NOTES)
    (cage.place / "link").symlink_to(cage.elsewhere)
    if not cage.verb.is_worked_in:
        return REFUSED
    parts = [
        path for path in cage.place.iterdir() if path.name not in ("notes.txt", "mine", "link")
    ]
    cage.ours = set(parts)
    return MADE


@creature()
def own_that_is_write_protected(cage: Cage) -> str:
    cage.stand()
    cage.place.chmod(0o555 if cage.verb.is_folder else 0o444)
    return REFUSED


@creature()
def own_with_a_stricter_mode(cage: Cage) -> str:
    cage.stand()
    cage.place.chmod(0o700 if cage.verb.is_folder else 0o600)
    return MADE


@creature()
def own_with_another_name(cage: Cage) -> str:
    cage.stand()
    files = [cage.place]
    if cage.verb.is_folder:
        files = [path for path in cage.place.rglob("*") if path.is_file() and path.stat().st_size]
    os.link(cage.pick(sorted(files)), cage.elsewhere / "other-name")
    # A journal is written on in its place, so it must have no other name.
    return EITHER if cage.verb.is_worked_in else MADE


@creature()
def link_to_what_is_not_ours(cage: Cage) -> str:
    target = cage.elsewhere / "foreign"
    if cage.verb.is_folder:
        write_all(target, {"run.json": b"{}", "src/thesis.tex": NOTES})
    else:
        target.write_bytes(NOTES)
    cage.place.symlink_to(target)
    return REFUSED


@creature()
def link_to_own(cage: Cage) -> str:
    target = cage.elsewhere / "target"
    copy(cage.own, target)
    cage.ours.add(target)
    cage.place.symlink_to(os.path.relpath(target, cage.place.parent))
    return MADE


@creature()
def link_to_nothing(cage: Cage) -> str:
    cage.place.symlink_to(cage.elsewhere / "to-be-made")
    cage.ours.add(cage.elsewhere / "to-be-made")
    return MADE


@creature()
def link_to_itself(cage: Cage) -> str:
    cage.place.symlink_to(cage.place.name)
    return REFUSED


@creature()
def links_that_go_round(cage: Cage) -> str:
    cage.place.symlink_to(cage.elsewhere / "back")
    (cage.elsewhere / "back").symlink_to(cage.place)
    return REFUSED


def _input(cage: Cage) -> Path | None:
    return cage.work / cage.verb.reads[0] if cage.verb.reads else None


@creature()
def the_input_itself(cage: Cage) -> str:
    path = _input(cage)
    if path is None or cage.verb.name == "hunted/found":
        return nothing(cage)
    cage.typed = cage.pick([path.name, f"sub/../{path.name}", str(path), f"./{path.name}"])
    if "{parent}" in cage.words:
        cage.words = cage.words.replace("{parent}/servers.{server}.log", "{out}")
    if path.suffix not in (".parquet", "") and cage.verb.words.startswith("report"):
        return nothing(cage)
    cage.place, cage.told = path, path.name
    return REFUSED


@creature()
def the_input_by_another_name(cage: Cage) -> str:
    path = _input(cage)
    if path is None:
        return nothing(cage)
    how = cage.number % 3
    if how == 0 and path.is_file():
        os.link(path, cage.place)
    elif how == 1 or path.is_dir():
        cage.place.symlink_to(path)
    else:
        (cage.elsewhere / "link").symlink_to(path)
        cage.place.symlink_to(cage.elsewhere / "link")
    return REFUSED


@creature("folder")
def the_input_inside(cage: Cage) -> str:
    path = _input(cage)
    if path is None:
        return nothing(cage)
    cage.stand()
    cage.ours.clear()
    inside = cage.place / path.name
    if cage.number % 2 and path.is_file():
        # By another name only.
        os.link(path, inside)
    else:
        shutil.move(path, inside)
        name = f"{cage.place.relative_to(cage.work)}/{path.name}"
        cage.words = cage.words.replace(f" {path.name}", f" {name}", 1)
    return REFUSED
