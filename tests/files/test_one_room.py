"""Nothing but `traces/files` changes the file system: held by the syntax of every other module."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "traces" / "files"
MODULES = sorted(
    path
    for package in ("traces", "faults", "replay", "reports")
    for path in (ROOT / package).rglob("*.py")
    if ROOM not in path.parents
)

#: Called on anything, these change the file system.
CHANGES = {
    *("rmtree", "copytree", "copyfile", "copy2", "move", "unlink", "rmdir", "removedirs"),
    *("rename", "renames", "chmod", "fchmod", "lchmod", "chown", "write_text", "write_bytes"),
    *("touch", "mkdir", "makedirs", "symlink_to", "hardlink_to", "symlink", "mkfifo"),
    *("mkdtemp", "mkstemp", "NamedTemporaryFile", "TemporaryFile", "TemporaryDirectory"),
    *("SpooledTemporaryFile", "truncate", "ftruncate", "pwrite", "flock", "lockf"),
    *("memory_map", "write_parquet", "write_csv", "write_ipc", "write_ndjson", "sink_parquet"),
    *("sink_csv", "to_parquet", "to_csv", "to_file", "savez", "savetxt", "tofile", "dump_stats"),
}
#: Functions of `os` beside those.
OF_OS = {"open", "remove", "replace", "link", "fdopen", "utime", "mknod"}
#: These take a path as well as an open file; only what `create` has opened is given to them.
TAKE_A_FILE = {"ParquetWriter", "write_table", "GzipFile", "ZipFile"}
MODES = set("wax+")


def offences(source):
    """(line, what) of every call that changes the file system on its own."""
    tree = ast.parse(source)
    creates = "import create" in source or "create, " in source or ", create" in source
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = (
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        )
        of = getattr(getattr(node.func, "value", None), "id", "")
        is_method = isinstance(node.func, ast.Attribute)
        if (
            (is_method and name in CHANGES)
            or (of == "os" and name in OF_OS and not is_devnull(node))
            # `Path.replace` takes one thing, `str.replace` two, a date's only names.
            or (is_method and name == "replace" and len(node.args) == 1 and not node.keywords)
            or (name in TAKE_A_FILE and not creates)
            or (name == "OSFile" and len(node.args) > 1)
            or (name in ("open", "fdopen") and writes(node, is_method))
        ):
            found.append((node.lineno, name))
    return found


def is_devnull(call):
    return bool(call.args) and ast.unparse(call.args[0]) == "os.devnull"


def writes(call, is_method):
    """Whether an `open` opens for writing, or does not say as what in so many words."""
    places = list(call.args[0 if is_method else 1 :][:1])
    places += [each.value for each in call.keywords if each.arg == "mode"]
    of = getattr(getattr(call.func, "value", None), "id", "")
    if of in ("gzip", "bz2", "lzma", "io", "tarfile", "zipfile", "codecs"):
        places = [*call.args[1:2], *(each.value for each in call.keywords if each.arg == "mode")]
    for mode in places:
        if not isinstance(mode, ast.Constant):
            # `LogFile.open(progress)` and `Recording.open(path)` take no mode.
            continue
        if isinstance(mode.value, str) and set(mode.value) & MODES and len(mode.value) <= 4:
            return True
    return False


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_changes_the_file_system_on_its_own(path):
    assert offences(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "shutil.rmtree(out)",
        "path.unlink(missing_ok=True)",
        "os.replace(a, b)",
        "os.remove(a)",
        "working.rename(out)",
        "working.replace(out)",
        "path.chmod(0o644)",
        "path.write_text('x')",
        "open(path, 'w')",
        "open(path, mode='ab')",
        "path.open('r+')",
        "path.open(mode='x')",
        "gzip.open(path, 'wb')",
        "os.open(path, os.O_RDWR)",
        "tempfile.mkdtemp()",
        "tempfile.NamedTemporaryFile()",
        "pq.write_table(table, path)",
        "pq.ParquetWriter(path, schema)",
        "pa.OSFile(path, 'wb')",
        "path.mkdir()",
    ],
)
def test_every_way_of_changing_it_is_found(line):
    assert offences(line)


@pytest.mark.parametrize(
    "line",
    [
        "open(path)",
        "path.open('rb')",
        "path.open(encoding='utf-8')",
        "text.replace('a', 'b')",
        "replace(options, name='x')",
        "dataclasses.replace(options, name='x')",
        "moment.replace(tzinfo=UTC)",
        "Recording.open(directory)",
        "from traces.files.writing import create\npq.ParquetWriter(create(path), schema)",
    ],
)
def test_reading_is_free(line):
    assert offences(line) == []
