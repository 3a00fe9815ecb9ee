"""Run as a script: command lines in processes of their own, forked from one that has loaded little.

python command_runner.py '["module to load first", ...]' < lines.json   ->   one JSON object a line
"""

import importlib
import io
import json
import os
import resource
import signal
import sys

#: What takes long to load; `pyarrow` is let in where a Parquet file must be opened.
HEAVY = ("torch", "polars", "altair", "jinja2", "distributed", "vl_convert", "pyarrow")

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
    child = os.fork()
    if child == 0:
        os.close(reads)
        signal.alarm(SECONDS_MAX)
        # No number may make it ask for all memory; it reads as a crash.
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
        with os.fdopen(writes, "w") as pipe:
            is_program = isinstance(line, dict)
            json.dump(run_program(**line) if is_program else run_one(line), pipe)
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(answer) if answer else {"code": -status, "out": "", "err": "", "heavy": []}


if __name__ == "__main__":
    import click  # noqa: F401

    import replay.cli  # noqa: F401

    for name in json.loads(sys.argv[1]):
        importlib.import_module(name)
    for line in json.load(sys.stdin):
        print(json.dumps(in_a_child(line)), flush=True)
