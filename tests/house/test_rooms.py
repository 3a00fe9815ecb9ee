"""Which room may import which: before the recording things happen, after it things are said.

Imports of every kind count: at the top, inside functions, and for type checking only.
"""

import ast
from collections import defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("traces", "faults", "replay", "reports")

ERRORS = {"replay/errors.py", "faults", "traces"}
PAIR = ERRORS | {"replay/recording", "replay/profiles", "replay/pool"}
LEFT = PAIR | {"replay/pair", "replay/wires", "replay/watch"}
SAID = ERRORS | {"replay/recording", "replay/verdict"}

#: Room -> the rooms that it may import. A folder of a folder belongs to its parent's room.
MAY_IMPORT = {
    "traces": set(),
    "faults": {"traces"},
    "replay/errors.py": {"faults", "traces"},
    "replay/recording": ERRORS,
    # Things happen.
    "replay/profiles": ERRORS | {"replay/recording"},
    "replay/pool": ERRORS | {"replay/recording"},
    "replay/pair": PAIR,
    "replay/wires": PAIR | {"replay/pair", "replay/watch"},
    "replay/watch": PAIR | {"replay/pair"},
    "replay/run": LEFT | {"replay/verdict"},
    # Things are said.
    "replay/verdict": ERRORS | {"replay/recording"},
    "replay/explain": SAID,
    "replay/server_lines": ERRORS | {"replay/recording"},
    "replay/engine_log": SAID | {"replay/server_lines"},
    "replay/diagnosis": SAID | {"replay/server_lines"},
    "reports": SAID | {"replay/explain", "replay/matrix"},
    # Many replays.
    "replay/shrink": LEFT | SAID | {"replay/run"},
    "replay/reproduce": LEFT | SAID | {"replay/run", "replay/shrink"},
    "replay/matrix": LEFT | SAID | {"replay/run"},
    "replay/pytest_plugin": LEFT | SAID | {"replay/run", "replay/matrix", "replay/commands"},
}
#: The command line may use everything.
COMMAND_LINE = {"replay/commands", "replay/cli.py"}


@cache
def modules():
    """Every module by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports():
    """Of every module the modules that it imports."""
    found = defaultdict(set)
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names} & modules().keys()
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: a relative import"
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    target = whole if whole in modules() else node.module
                    found[name] |= {target} & modules().keys()
    return dict(found)


def room(name):
    """`replay/pair` of `replay.pair.clock`, `traces` of `traces.files.place`."""
    parts = name.split(".")
    if parts[0] != "replay" or len(parts) == 1:
        return parts[0]
    path = modules()[name]
    return f"replay/{parts[1]}" + (".py" if path.parent.name == "replay" else "")


def test_a_room_imports_only_what_it_may():
    strangers = {
        f"{name} imports {target}"
        for name, targets in imports().items()
        for target in targets
        if room(name) not in COMMAND_LINE
        and room(target) not in {room(name), "replay"} | MAY_IMPORT[room(name)]
    }
    assert sorted(strangers) == []


def test_every_room_is_told_what_it_may_import():
    assert {room(name) for name in modules()} - {"replay"} == {*MAY_IMPORT, *COMMAND_LINE}


def test_rooms_do_not_import_in_circles():
    graph = defaultdict(set)
    for name, targets in imports().items():
        graph[room(name)] |= {room(target) for target in targets} - {room(name), "replay"}
    assert circle(graph) is None


def test_modules_do_not_import_in_circles():
    assert circle(imports()) is None


def circle(graph):
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as found:
        return found.args[1]
    return None


def test_nothing_is_imported_by_string():
    by_string = [
        f"{name}: {ast.unparse(node)}"
        for name, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Name) and node.id in ("__import__", "importlib"))
        or (isinstance(node, ast.Attribute) and node.attr == "import_module")
    ]
    assert by_string == []


def test_a_package_holds_rooms_and_few_loose_modules():
    loose = [path.name for path in (ROOT / "replay").glob("*.py")]
    assert sorted(loose) == ["__init__.py", "cli.py", "errors.py"]


#: Folders that are lists: one module for each thing of a kind.
LISTS = {"traces/formats", "faults/kinds", "replay/commands", "reports/parts"}


def test_a_folder_holds_what_one_can_look_over():
    crowded = defaultdict(list)
    for path in modules().values():
        if path.name != "__init__.py":
            crowded[path.parent.relative_to(ROOT).as_posix()].append(path.name)
    assert {folder: len(names) for folder, names in crowded.items() if len(names) > 16}.keys() <= (
        LISTS
    )
