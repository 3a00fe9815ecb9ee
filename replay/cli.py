"""The `kvreplay` command: verbs by name, imported only when asked for.

`kvreplay --help` must answer at once, so nothing but click is imported here; a verb's module is
imported when the verb is used.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import NoReturn

import click

from replay.commands.lazy_group import LazyGroup
from replay.commands.standard_streams import prepare_streams

#: Verb -> one-line help, shown without importing the verb.
VERBS = {
    "demo": "Run the whole story in one command; no input needed.",
    "trace": "Make, import and inspect request traces.",
    "run": "Replay a trace under faults and give a verdict.",
    "reproduce": "Reproduce the two numbers that an engine printed.",
    "shrink": "Find the smallest trace and plan with the verdict of a recording.",
    "hunt": "Search random replays for a bug, and shrink the one that shows it.",
    "matrix": "Run the replays that a matrix file describes, and check each.",
    "explain": "Explain one request or page, step by step.",
    "diagnose": "Give a verdict on the log or the metrics of a real server.",
    "report": "Draw recordings as one offline HTML page.",
    "profiles": "List the engine profiles, their fields and known bugs.",
    "doctor": "Show what this machine has and which pools fit.",
    "bench": "Measure what allocations and replays cost on this machine.",
    "faults": "List the faults and the built-in plans.",
}
TRACE_VERBS = {
    "synth": "Make a trace, from options or like another.",
    "import": "Convert server logs to a trace.",
    "inspect": "Describe a trace, or compare two.",
    "slice": "Write a part of a trace.",
    "anonymize": "Write a de-identified copy of a trace.",
}
MATRIX_VERBS = {
    "run": "Run every cell and report the unexpected ones.",
    "list": "List the cells without running them.",
    "merge": "Merge the shards of a matrix.",
}

EXIT_BAD_INPUT = 2
EXIT_INTERNAL_ERROR = 4
EXIT_INTERRUPTED = 130

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


def load_verb(name: str) -> click.Command:
    """Import a verb of `VERBS`."""
    verb: click.Command
    match name:
        case "trace":
            verb = trace
        case "matrix":
            verb = matrix
        case "demo":
            from replay.commands.demo import demo as verb
        case "run":
            from replay.commands.run import run as verb
        case "reproduce":
            from replay.commands.reproduce import reproduce as verb
        case "shrink":
            from replay.commands.shrink import shrink as verb
        case "hunt":
            from replay.commands.hunt import hunt as verb
        case "explain":
            from replay.commands.explain import explain as verb
        case "diagnose":
            from replay.commands.diagnose import diagnose as verb
        case "report":
            from replay.commands.report import report as verb
        case "profiles":
            from replay.commands.profiles import profiles as verb
        case "doctor":
            from replay.commands.doctor import doctor as verb
        case "bench":
            from replay.commands.bench import bench as verb
        case "faults":
            from replay.commands.faults import faults as verb
        case _:
            raise KeyError(name)
    return verb


def load_trace_verb(name: str) -> click.Command:
    """Import a verb of `TRACE_VERBS`."""
    verb: click.Command
    match name:
        case "synth":
            from replay.commands.trace.synth import synth as verb
        case "import":
            from replay.commands.trace.import_log import import_log as verb
        case "inspect":
            from replay.commands.trace.inspect import inspect as verb
        case "slice":
            from replay.commands.trace.slice import slice_verb as verb
        case "anonymize":
            from replay.commands.trace.anonymize import anonymize as verb
        case _:
            raise KeyError(name)
    return verb


def load_matrix_verb(name: str) -> click.Command:
    """Import a verb of `MATRIX_VERBS`."""
    verb: click.Command
    match name:
        case "run":
            from replay.commands.matrix.run import run as verb
        case "list":
            from replay.commands.matrix.list_cells import list_cells as verb
        case "merge":
            from replay.commands.matrix.merge import merge as verb
        case _:
            raise KeyError(name)
    return verb


@click.group(
    cls=LazyGroup,
    verbs=VERBS,
    load=load_verb,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: kvreplay demo",
)
@click.version_option(package_name="kvreplay", prog_name="kvreplay")
def cli() -> None:
    """Replay LLM request traces against a KV-cache allocator and scheduler pair.

    Faults are injected into KV-transfer completion events. Every accounting mismatch is reported as
    transient (it heals) or persistent (it never does), with its owners and the event that caused it.
    """


@click.group(
    cls=LazyGroup,
    verbs=TRACE_VERBS,
    load=load_trace_verb,
    epilog="Start with: kvreplay trace synth -o trace.parquet",
)
def trace() -> None:
    """Make, import and inspect request traces."""


@click.group(cls=LazyGroup, verbs=MATRIX_VERBS, load=load_matrix_verb)
def matrix() -> None:
    """Run the replays that a matrix file describes, and check each against its expectation."""


def main() -> NoReturn:
    """Run the command line and exit: 0 as expected, 1 verdict, 2 input, 3 inconclusive, 4 defect.

    A closed pipe does not change the exit code, see `replay.commands.standard_streams`.
    """
    for name in _SIGNALS:
        # One that is ignored is meant to be: `nohup`, or a job in the background.
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:
            signal.signal(getattr(signal, name), _interrupt)
    prepare_streams()
    sys.exit(run_command_line(sys.argv[1:]))


class Interrupted(KeyboardInterrupt):
    """A signal that ends the command, as an exception, so that nothing half-written stays."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def _interrupt(number: int, _frame: object) -> NoReturn:
    for name in _SIGNALS:
        # Who presses Ctrl-C twice has been heard the first time.
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    raise Interrupted(number)


def run_command_line(arguments: list[str]) -> int:
    """Run one command line and return its exit code; never a traceback for bad input."""
    try:
        result = cli.main(args=arguments, prog_name="kvreplay", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as problem:
        from replay.commands.options import say

        problem.show(words := io.StringIO())
        say(words.getvalue(), err=True, nl=False)
        return EXIT_BAD_INPUT
    except (KeyboardInterrupt, click.Abort) as stop:
        click.echo("kvreplay: interrupted; nothing half-written was left behind", err=True)
        # click makes a signal an Abort.
        signalled = stop if isinstance(stop, Interrupted) else stop.__cause__
        return signalled.exit_code if isinstance(signalled, Interrupted) else EXIT_INTERRUPTED
    except SystemExit as stop:
        # What click makes of any broken pipe, an output that is one for example.
        if isinstance(stop.__context__, BrokenPipeError):
            return _report_problem(stop.__context__)
        raise
    except Exception as problem:
        return _report_problem(problem)


def _report_problem(problem: Exception) -> int:
    from replay.commands.options import say
    from replay.errors import USER_ERRORS

    if isinstance(problem, USER_ERRORS):
        say(f"kvreplay: {problem}", err=True)
        return EXIT_BAD_INPUT
    if isinstance(problem, OSError):
        where = f" {problem.filename}" if problem.filename else ""
        say(f"kvreplay: cannot use{where}: {problem.strerror or problem}", err=True)
        return EXIT_BAD_INPUT
    if os.environ.get("KVREPLAY_TRACEBACK"):
        raise problem
    say(
        f"kvreplay: internal error, please report it: {type(problem).__name__}: {problem} "
        "(set KVREPLAY_TRACEBACK=1 for the traceback)",
        err=True,
    )
    return EXIT_INTERNAL_ERROR


if __name__ == "__main__":
    main()
