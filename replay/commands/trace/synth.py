"""`kvreplay trace synth`: make a trace from options, or one like another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from replay.commands.options import Probability, example, progress_bars, say
from replay.commands.trace.shared import FORCE, JSON, OUTPUT, print_made
from traces.errors import TraceError
from traces.likeness.options import LikenessOptions
from traces.synthesis_options import ARRIVALS, LENGTHS, SynthesisOptions

_Function = TypeVar("_Function", bound=Callable[..., Any])

# A dataclass with slots hides its defaults; an instance has them.
_DEFAULTS = SynthesisOptions()

#: Parameters that mean something together with --like; all others are learnt from the trace.
_WITH_LIKE = frozenset({"output", "like", "requests", "rate_per_s", "seed", "force", "as_json"})


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
        "kvreplay trace synth -o like.parquet --like conv.parquet --requests 1000000",
    )
)
@OUTPUT
@click.option(
    "--like",
    type=click.Path(path_type=Path),
    metavar="TRACE",
    help="Learn arrivals, lengths, prefix reuse, sessions and aborts from this trace, of any size. Only "
    "--requests (default: as many), --rate (default: the same) and --seed combine with it. Ids and "
    "hashes are new, but this does not anonymise: gaps and lengths stay recognisable.",
)
@_synthesis_option("--requests", "requests", "Number of requests.")
@_synthesis_option("--rate", "rate_per_s", "Mean arrivals per second.")
@_synthesis_option("--arrivals", "arrivals", "Arrival process.", type=click.Choice(list(ARRIVALS)))
@_synthesis_option("--lengths", "lengths", "Length distribution.", type=click.Choice(list(LENGTHS)))
@_synthesis_option(
    "--prompt-tokens", "prompt_tokens_median", "Median of the new prompt tokens of a turn."
)
@_synthesis_option("--output-tokens", "output_tokens_median", "Median of the tokens of an answer.")
@_synthesis_option(
    "--system-tokens", "system_tokens_median", "Median of the tokens of a tenant's system prompt."
)
@_synthesis_option("--input-tokens-max", "input_tokens_max", "Maximum tokens of a prompt.")
@_synthesis_option("--tenants", "tenants", "Number of tenants, each with its own system prompt.")
@_synthesis_option("--turns", "turns_mean", "Mean number of turns of a session.")
@_synthesis_option(
    "--abort-rate",
    "abort_rate",
    "Share of requests that the client aborts, 0 to 1.",
    type=Probability(),
)
@_synthesis_option("--abort-after", "abort_s_mean", "Mean seconds from arrival to abort.")
@_synthesis_option("--block-size", "block_size", "Tokens per block hash.")
@_synthesis_option("--seed", "seed", "Seed; the same seed and options give the same bytes.")
@FORCE
@JSON
def synth(output: Path, like: Path | None, force: bool, as_json: bool, **settings: Any) -> None:
    """Make a trace with tenants, multi-turn sessions, shared prefixes and client aborts.

    With --like, make one with the statistics of another trace.
    """
    if like is None:
        facts = _make_from_options(SynthesisOptions(**settings), output, force)
    else:
        facts = _make_like(like, output, force)
    if not as_json:
        say(f"{output}: {facts['requests']} requests, seed {facts['seed']}")
        if facts.get("like", {}).get("is_sampled"):
            say(
                f"modelled on {facts['like']['rows']:,} of the {facts['like']['requests']:,} "
                f"requests of {like}, in stretches spread evenly over it"
            )
        return
    print_made(output, **facts)


def _make_from_options(options: SynthesisOptions, output: Path, force: bool) -> dict[str, Any]:
    from traces.synthesis import write_synthetic_trace
    from traces.writer import hold_trace

    with (
        hold_trace(output, options.describe(), force=force) as place,
        progress_bars(("Making requests", options.requests)) as (advance,),
    ):
        written = write_synthetic_trace(options, place, advance)
    return {"requests": written, "seed": options.seed}


def _make_like(like: Path, output: Path, force: bool) -> dict[str, Any]:
    """Learn from the trace `like` and write one that resembles it.

    Raises:
        TraceError: an option was given that --like leaves no meaning, or a trace cannot be used.
    """
    context = click.get_current_context()
    given = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    for parameter in context.command.params:
        if parameter.name in given and parameter.name not in _WITH_LIKE:
            raise TraceError(
                f"synthesis: {parameter.opts[0]} has no meaning together with --like, which learns "
                f"it from {like}; leave one of the two out"
            )
    from traces.dataset import open_trace
    from traces.files.kinds import TRACE
    from traces.files.place import hold
    from traces.likeness.fitting import fit_trace
    from traces.likeness.generation import write_trace_like

    source_count = open_trace(like).request_count
    options = LikenessOptions(
        requests=given.get("requests", max(source_count, 1)),
        seed=given.get("seed", 0),
        rate_per_s=given.get("rate_per_s"),
    )
    # Looked at now, before what there is to learn is known.
    with hold(output, TRACE, reads=[like]) as place:
        with progress_bars(("Learning", source_count)) as (advance,):
            model = fit_trace(like, advance)
        with progress_bars(("Making requests", options.requests)) as (advance,):
            written = write_trace_like(model, options, place, advance, force=force)
    learnt = {
        "path": str(like),
        "requests": model.request_count,
        "rows": int(model.rows.size),
        "is_sampled": model.is_sampled,
    }
    return {"requests": written, "seed": options.seed, "like": learnt}
