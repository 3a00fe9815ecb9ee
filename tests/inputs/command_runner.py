"""Run as a script: command lines in processes of their own, forked from one that has loaded little.

    python command_runner.py '["module to load first", ...]' [learns]
        <--stdin-- one line of JSON for each command line   --stdout--> one line of JSON for each

If it learns, it imports what its forks have had to import, so that the next find it there.
"""

import contextlib
import importlib
import io
import json
import os
import resource
import signal
import sys

#: What takes long to load; `pyarrow` is let in where a Parquet file must be opened.
HEAVY = ("torch", "polars", "jinja2", "distributed", "vl_convert", "pyarrow")

SECONDS_MAX = 120
MEMORY_MAX = 24 * 2**30


def run_one(words):
    """Run one command line here; what came of it."""
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    from replay.cli import run_command_line

    code = run_command_line(words)
    return {
        "code": code,
        "out": sys.stdout.getvalue(),
        "err": sys.stderr.getvalue(),
        "heavy": [name for name in HEAVY if name in sys.modules],
    }


def redirect(descriptor, what):
    """Do to a standard stream what a shell does before a program starts."""
    name = ("stdin", "stdout", "stderr")[descriptor]
    if what == "closed":
        os.close(descriptor)
        setattr(sys, name, None)
        return
    if what == "nobody-reads":
        reads, opened = os.pipe()
        os.close(reads)
    else:
        opened = os.open(what, os.O_RDWR | os.O_CREAT)
    os.dup2(opened, descriptor)
    mode = "w" if descriptor else "r"
    setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115


def run_program(words, streams):
    """Run the program; the exit code that a shell would see."""
    for descriptor, what in streams.items():
        redirect(int(descriptor), what)
    sys.argv = ["kvreplay", *words]
    from replay.cli import main

    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):
        # As the interpreter does where a stream cannot be flushed at its end.
        code = 120
    return {"code": code}


def in_a_child(line):
    """The same in a child, which may die."""
    reads, writes = os.pipe()
    before = set(sys.modules)
    child = os.fork()
    if child == 0:
        os.close(reads)
        signal.alarm(SECONDS_MAX)
        # No number may make it ask for all memory; it reads as a crash.
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
        with os.fdopen(writes, "w") as pipe:
            is_program = isinstance(line, dict)
            answer = run_program(**line) if is_program else run_one(line)
            json.dump(answer | {"imported": sorted(sys.modules.keys() - before)}, pipe)
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if answer:
        return json.loads(answer)
    return {"code": -status, "out": "", "err": "", "heavy": [], "imported": []}


def learn(names):
    """Import modules; some were made while another was imported, and have no file."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


if __name__ == "__main__":
    import click  # noqa: F401

    import replay.cli  # noqa: F401

    for name in json.loads(sys.argv[1]):
        importlib.import_module(name)
    for text in sys.stdin:
        found = in_a_child(json.loads(text))
        imported = found.pop("imported")
        if sys.argv[2:] == ["learns"]:
            learn(imported)
        print(json.dumps(found), flush=True)
