"""The `kvreplay` command: verbs by name, imported only when asked for.

`kvreplay --help` must answer at once, so nothing but click is imported here; each verb's module is
loaded by dotted name when the verb is used.
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

#: Verb -> (dotted name of its click command, one-line help shown without importing it).
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("replay.commands.demo.demo", "The whole story in one command, no input needed."),
    "trace": ("replay.commands.trace.group.trace", "Make, import and look at request traces."),
    "run": ("replay.commands.run.run", "Replay a trace, with faults, and give a verdict."),
    "reproduce": (
        "replay.commands.reproduce.reproduce",
        "Make the two numbers an engine printed happen again.",
    ),
    "shrink": (
        "replay.commands.shrink.shrink",
        "The smallest trace and plan with the same verdict as a recording.",
    ),
    "hunt": ("replay.commands.hunt.hunt", "Find a bug by swarm, and shrink what shows it."),
    "matrix": (
        "replay.commands.matrix.group.matrix",
        "Run many replays that one file describes, and check each.",
    ),
    "explain": (
        "replay.commands.explain.explain",
        "Tell the life of one request or page, and where it went wrong.",
    ),
    "diagnose": (
        "replay.commands.diagnose.diagnose",
        "Give a real server's log, or its metrics, a verdict.",
    ),
    "report": ("replay.commands.report.report", "Draw recordings as one offline HTML page."),
    "profiles": ("replay.commands.profiles.profiles", "List the engine profiles and their fields."),
    "doctor": ("replay.commands.doctor.doctor", "Say what this machine has and which pools fit."),
    "bench": ("replay.commands.bench.bench", "Measure what allocations and replays cost here."),
    "faults": ("replay.commands.faults.faults", "List the faults and the built-in plans."),
}

EXIT_UNEXPECTED_VERDICT = 1
EXIT_BAD_INPUT = 2
EXIT_INCONCLUSIVE = 3
EXIT_INTERNAL_ERROR = 4
EXIT_INTERRUPTED = 130

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@click.group(
    cls=LazyGroup,
    lazy_commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: kvreplay demo",
)
@click.version_option(package_name="kvreplay", prog_name="kvreplay")
def cli() -> None:
    """Replay LLM request traces against a KV-cache allocator and scheduler pair.

    Faults are injected into KV-transfer completion events; every accounting mismatch is then called
    transient (it heals) or persistent (it never does), with its owners and the event that did it.
    """


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
