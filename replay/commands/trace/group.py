"""`kvreplay trace`: its verbs by name, imported only when asked for."""

from __future__ import annotations

import click

from replay.commands.lazy_group import LazyGroup

#: Verb -> (dotted name of its click command, one-line help shown without importing it).
VERBS: dict[str, tuple[str, str]] = {
    "synth": ("replay.commands.trace.synth.synth", "Make a trace: from options, or like another."),
    "import": ("replay.commands.trace.import_log.import_log", "Turn servers' logs into a trace."),
    "inspect": ("replay.commands.trace.inspect.inspect", "Describe a trace, or compare two."),
    "slice": ("replay.commands.trace.slice.slice_verb", "Write a part of a trace."),
    "anonymize": ("replay.commands.trace.anonymize.anonymize", "Write a trace that names nobody."),
}


@click.group(
    cls=LazyGroup, lazy_commands=VERBS, epilog="Start with: kvreplay trace synth -o trace.parquet"
)
def trace() -> None:
    """Make, import and look at request traces."""
