"""``zoo edit``: ``zoo run`` for models that begin with an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from zoo_core.cli.completion import complete_models
from zoo_core.cli.engines import engine_flags
from zoo_core.cli.model_command import ModelCommand, capable_card, command_of
from zoo_core.cli.run import RunRequest, make_samples, params_for, run


@click.command(cls=ModelCommand, build=lambda *given: _command_for(*given), flags=engine_flags)
@click.argument("model", shell_complete=complete_models)
@click.argument("image")
@click.argument("prompt", nargs=-1, metavar="[PROMPT]...")
def edit(**values: Any) -> None:
    """Make images from an image: change it, or fill in a part of it.

    MODEL is named as in zoo run; zoo show MODEL lists edit among its capabilities. IMAGE is the file that the
    model's option --input would take. What can be done with it are options of the model, such as --strength
    and --mask: zoo edit MODEL --help.
    """
    raise click.UsageError("Name a model and an image.", click.get_current_context())


edit.params += [each for each in run.params if each.name not in ("model", "prompt")]


def _command_for(name: str, base: click.Command, args: Sequence[str]) -> click.Command:
    """Build ``zoo edit`` for one model, with the options of every run and those of the model."""
    card = capable_card(name, "edit", "begin with an image")

    def start(options: dict[str, Any], image: str, **values: Any) -> None:
        make_samples(RunRequest(name, card, {**options, "input": image}, **values))

    return command_of(
        name,
        card,
        params_for(card, base, args),
        {option: each for option, each in card.options.items() if option != "input"},
        start,
        help=f"Make images from an image with {card.id}: {card.summary}",
    )
