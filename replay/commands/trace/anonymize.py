"""`kvreplay trace anonymize`: write a trace that names nobody."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from replay.commands.options import example, progress_bars, say
from replay.commands.trace.shared import FORCE, JSON, OUTPUT, print_made

#: Environment variable that may hold the secret.
KEY_VARIABLE = "KVREPLAY_ANONYMIZE_KEY"

_KEY_FILE_BYTES_MAX = 4096
_DAY_MS = 24 * 3600 * 1000


@click.command(
    epilog=example(
        "kvreplay trace anonymize conv.parquet -o public.parquet --key-file secret.key \\",
        "    --quantise-ms 100",
    )
)
@click.argument("trace_path", metavar="TRACE", type=click.Path(path_type=Path))
@OUTPUT
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="File with the secret: at least 16 bytes, a trailing newline is ignored. Make one with "
    "`openssl rand -hex 32 > secret.key`. Without --key-file the environment variable "
    f"{KEY_VARIABLE} is used, or the terminal asks. The secret is never an argument, because "
    "arguments appear in the shell history and in the process list.",
)
@click.option(
    "--quantise-ms",
    "--quantize-ms",
    "quantum_ms",
    type=click.IntRange(1, _DAY_MS),
    metavar="N",
    help="Round arrival and cancel times down to multiples of N milliseconds.",
)
@FORCE
@JSON
def anonymize(
    trace_path: Path,
    output: Path,
    key_file: Path | None,
    quantum_ms: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write a de-identified copy of a trace.

    Each part of a request or session id (parts are separated by slashes) becomes a pseudonym that
    depends on the parts before it, so requests of one tenant or session stay together. Block hashes
    are re-keyed: prompts that shared a prefix still share it, and their contents cannot be guessed.
    The source note and unknown columns are dropped.

    The same secret gives the same bytes; another secret changes everything. Nobody can map the
    copy back without the secret: store it apart from the copy, or delete it.

    NOT hidden: prompt and output lengths, times (unless quantised), priorities, the block size, the
    number of parts of an id, and which requests share a session, tenant or prefix.
    """
    from traces.dataset import open_trace
    from traces.files.kinds import TRACE
    from traces.files.place import Place
    from traces.pseudonyms.anonymize import anonymize_trace, derive_keys

    # Before anybody is asked for a secret.
    trace = open_trace(trace_path)
    keys_in = [key_file] if key_file is not None and key_file.is_file() else []
    Place(output, TRACE).check([trace_path, *keys_in])
    keys = derive_keys(*_read_secret(key_file))
    with progress_bars(("Anonymising requests", trace.request_count)) as (advance,):
        written = anonymize_trace(
            trace_path,
            output,
            keys,
            quantum_us=1 if quantum_ms is None else quantum_ms * 1000,
            on_progress=advance,
            force=force,
        )
    if not as_json:
        times = "times kept" if quantum_ms is None else f"times floored to {quantum_ms} ms"
        say(f"{output}: {written} requests anonymised, {times}")
        return
    print_made(output, requests=written, quantise_ms=quantum_ms)


def _read_secret(key_file: Path | None) -> tuple[bytes, str]:
    """Return the secret and its name in messages."""
    if key_file is not None:
        return _read_key_file(key_file), f"key file {key_file}"
    if KEY_VARIABLE in os.environ:
        return os.fsencode(os.environ[KEY_VARIABLE]), f"environment variable {KEY_VARIABLE}"
    if sys.stdin is not None and sys.stdin.isatty():
        typed: str = click.prompt("Secret", hide_input=True, confirmation_prompt=True, err=True)
        return os.fsencode(typed), "the secret"
    raise click.UsageError(
        f"no secret: give --key-file, set {KEY_VARIABLE}, or run in a terminal to be asked"
    )


def _read_key_file(path: Path) -> bytes:
    from traces.errors import TraceError

    try:
        # Read as a stream: the file may be a pipe, as in `--key-file <(pass show kvreplay)`.
        with path.open("rb") as stream:
            secret = stream.read(_KEY_FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise TraceError(
            f"key file {path}: cannot be read ({reason}); make one with `openssl rand -hex 32`"
        ) from problem
    if len(secret) > _KEY_FILE_BYTES_MAX:
        raise TraceError(
            f"key file {path}: has more than {_KEY_FILE_BYTES_MAX} bytes, so it is hardly a "
            "secret; make one with `openssl rand -hex 32`"
        )
    return secret.removesuffix(b"\n").removesuffix(b"\r")
