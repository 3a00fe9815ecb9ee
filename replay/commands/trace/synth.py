"""`kvreplay trace synth`: make a synthetic trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from replay.commands.trace.shared import JSON, OUTPUT, example, progress
from traces.synthesis_options import ARRIVALS, LENGTHS, SynthesisOptions

_Function = TypeVar("_Function", bound=Callable[..., Any])

# A dataclass with slots hides its defaults; an instance has them.
_DEFAULTS = SynthesisOptions()


def _synthesis_option(
    flag: str, name: str, text: str, **settings: Any
) -> Callable[[_Function], _Function]:
    return click.option(
        flag, name, default=getattr(_DEFAULTS, name), show_default=True, help=text, **settings
    )


@click.command(
    epilog=example(
        "kvreplay trace synth -o trace.parquet --requests 100000 --rate 20 \\",
        "    --arrivals bursty --abort-rate 0.02 --seed 7",
    )
)
@OUTPUT
@_synthesis_option("--requests", "requests", "Number of requests.")
@_synthesis_option("--rate", "rate_per_s", "Mean arrivals per second.")
@_synthesis_option("--arrivals", "arrivals", "Arrival process.", type=click.Choice(list(ARRIVALS)))
@_synthesis_option("--lengths", "lengths", "Length distribution.", type=click.Choice(list(LENGTHS)))
@_synthesis_option("--prompt-tokens", "prompt_tokens_median", "Median new tokens of a turn.")
@_synthesis_option("--output-tokens", "output_tokens_median", "Median tokens of an answer.")
@_synthesis_option(
    "--system-tokens", "system_tokens_median", "Median length of a tenant's system prompt."
)
@_synthesis_option("--input-tokens-max", "input_tokens_max", "Longest prompt.")
@_synthesis_option("--tenants", "tenants", "Tenants, each with a system prompt of its own.")
@_synthesis_option("--turns", "turns_mean", "Mean turns of a session.")
@_synthesis_option("--abort-rate", "abort_rate", "Share of requests the client aborts, 0 to 1.")
@_synthesis_option("--abort-after", "abort_s_mean", "Mean seconds from arrival to abort.")
@_synthesis_option("--block-size", "block_size", "Tokens one block hash covers.")
@_synthesis_option("--seed", "seed", "Same seed and options, same bytes.")
@JSON
def synth(output: Path, as_json: bool, **settings: Any) -> None:
    """Make a synthetic trace: tenants, multi-turn sessions, shared prefixes, client aborts."""
    options = SynthesisOptions(**settings)

    from traces.dataset import open_trace
    from traces.synthesis import write_synthetic_trace

    with progress("Making requests", options.requests) as advance:
        written = write_synthetic_trace(options, output, advance)
    if as_json:
        made = open_trace(output)
        click.echo(
            json.dumps(
                {
                    "path": str(output),
                    "requests": written,
                    "seed": options.seed,
                    "source": made.source,
                    "block_size": made.block_size,
                    "sha256": made.sha256(),
                }
            )
        )
    else:
        click.echo(f"{output}: {written} requests, seed {options.seed}")
