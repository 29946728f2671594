"""``zoo score``: how likely files are under a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo_core.cli.completion import complete_models
from zoo_core.cli.console import loading_options, print_json, write
from zoo_core.cli.model_command import capable_card
from zoo_core.environment import Environment

if TYPE_CHECKING:
    import torch


@click.command()
@click.argument("model", shell_complete=complete_models)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed for models whose likelihood is estimated by sampling.",
)
@click.option(
    "--ode",
    is_flag=True,
    help="Of diffusion models: by the probability-flow ODE, with its standard error, in place of the bound.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Of diffusion models: a new .png file with the bound's terms by timestep. Needs matplotlib.",
)
@loading_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def score(
    model: str,
    files: tuple[str, ...],
    seed: int,
    ode: bool,
    plot: Path | None,
    device: str,
    dtype: str,
    adapter: str | None,
    as_json: bool,
) -> None:
    """Show the likelihood of texts, images or points under a model.

    MODEL has the capability score: zoo list --capability score. FILE is a path, or - for text from the
    standard input. Texts: log-likelihood, perplexity per token
    and bits per byte; a text longer than the context is read in windows that overlap by half. Images:
    log-likelihood and bits per dimension. Points, the .npz or .csv files of zoo run: their log-density.
    """
    from zoo_core.cli.score_plot import check_plot, plot_terms
    from zoo_core.running.scoring import bits_by_timestep, figures, read_item

    card = capable_card(model, "score", "score data")
    if plot is not None:
        check_plot(plot, ode)
    read = {file: read_item(file, card.output) for file in files}
    loaded = Environment.current().load(card, device=device, dtype=dtype, adapter=adapter)
    rows: list[dict[str, Any]] = []
    terms: dict[str, torch.Tensor] = {}
    for number, (file, content) in enumerate(read.items()):
        data = [content] if isinstance(content, str) else content
        score = loaded.log_likelihood(data, seed=seed + number, ode=ode)
        found = figures(score, content)
        if plot is not None:
            terms[file] = bits_by_timestep(score)
        rows.append({"file": file, **found})
        if not as_json:
            words = [f"{name.replace('_', ' ')} {_format(value)}" for name, value in found.items()]
            write(f"{file}: {', '.join(words)}")
    if plot is not None:
        plot_terms(terms, plot)
    if as_json:
        print_json(rows)


def _format(value: float | int | bool) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
