"""``zoo mix``: a table of images that mix the latents of two lists of seeds by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from zoo_core.cli.completion import complete_models
from zoo_core.cli.console import loading_options, write
from zoo_core.cli.flags import Seeds
from zoo_core.cli.model_command import ModelCommand, capable_card, command_of
from zoo_core.environment import Environment
from zoo_core.errors import OptionError, OutputError
from zoo_core.manifest.cards import ModelCard

MAX_SEEDS = 1000
"""Limit of the rows or columns."""


@click.command(cls=ModelCommand, build=lambda *given: _command_for(*given))
@click.argument("model", shell_complete=complete_models)
@click.option(
    "--rows", type=Seeds(), default="0-3", show_default=True, help="Seeds of the rows: the base images."
)
@click.option(
    "--columns",
    type=Seeds(),
    default="10-14",
    show_default=True,
    help="Seeds of the columns, whose latents replace the row's in --layers.",
)
@click.option(
    "--layers", help="Layers that take the column's, such as 0-3 or 4-9,12. [default: the finer half]"
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="PNG file to write.")
@loading_options
def mix(**values: Any) -> None:
    """Make a table of images that mix the latents of two lists of seeds.

    MODEL has the capability latents, by layer, as a StyleGAN does. The left column and the top row show the
    seeds' own images. Each cell is the row's image with the column's latents in some layers (Karras et al.
    2018, figure 3). See a model's own options: zoo mix MODEL --help.
    """
    raise click.UsageError("Name a model.", click.get_current_context())


def _command_for(name: str, base: click.Command, args: Sequence[str]) -> click.Command:
    """Build ``zoo mix`` for one model, with the model's own options."""
    card = capable_card(name, "latents", "mix latents")
    return command_of(
        name,
        card,
        base.params,
        card.options,
        lambda options, **values: _mix(card, options, **values),
        help=f"Make a table of images that mix the latents of seeds of {card.id}: {card.summary}",
    )


def _mix(
    card: ModelCard,
    options: Mapping[str, Any],
    *,
    rows: Sequence[int],
    columns: Sequence[int],
    layers: str | None,
    output: Path,
    device: str,
    dtype: str,
    adapter: str | None,
) -> None:
    import torch
    from PIL import Image

    from zoo_core.running.commands import record_of_command
    from zoo_core.running.mixing import mix_latents, parse_layers
    from zoo_core.running.walking import images_of
    from zoo_core.samples import ContactSheet
    from zoo_core.samples.single import save_images

    if output.exists():
        raise OutputError(f"{output} already exists.", "Give another path, or remove it.")
    if output.suffix.lower() != ".png":
        raise OutputError(f"{output} is not a .png file.", "Give a name that ends in .png.")
    for side in (rows, columns):
        if not 1 <= len(side) <= MAX_SEEDS:
            raise OptionError(
                f"--rows and --columns: expected 1 to {MAX_SEEDS} seeds each, not {len(side)}.",
                "Give fewer: --rows 0-3 --columns 10-14",
            )
    model = Environment.current().load(card, device=device, dtype=dtype, adapter=adapter)
    left, top = model.encode(seeds=rows, **options), model.encode(seeds=columns, **options)
    if left.ndim != 3:
        raise OptionError(
            f"{card.id} has latents of shape {tuple(left.shape[1:])}, not by layer.",
            "Walk between its seeds instead: zoo interpolate",
        )
    count = left.shape[1]
    chosen = parse_layers("--layers", layers or f"{count // 2}-{count - 1}", count)
    cells = [top]
    for own in torch.split(left, 1):
        cells += [own, mix_latents(own, top, chosen)]
    sheet = ContactSheet((len(rows) + 1) * (len(columns) + 1), columns=len(columns) + 1)
    for image in images_of(model, torch.cat(cells), rows[0], **options):
        if not sheet.filled:
            sheet.paste(Image.new(image.mode, image.size, "white"))
        sheet.paste(image)
    save_images(output, [sheet.image], record_of_command(model, rows[0]))
    write(f"{output}")
