"""``zoo mix-prompts``: a grid of prompts and mixes, as in Kang et al. 2023, arXiv:2303.05511."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import zoo_core
from zoo_core import ContactSheet, OptionError, OutputError, record_of_command, save_images

MIN_CELL = 128
"""Images are enlarged to at least this side, so that captions fit below them."""


@click.command("mix-prompts")
@click.argument("model")
@click.argument("prompts", nargs=-1, required=True, metavar="PROMPT...")
@click.option(
    "--mix", "mixes", multiple=True, required=True, help="Second prompt, a column each; repeat for more."
)
@click.option(
    "--mix-from",
    type=click.IntRange(1),
    help="Apply the second prompt to feature maps of this side and larger.  [default: the model's]",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of all images.")
@click.option(
    "--truncation",
    type=click.FloatRange(0, 2),
    help="Truncation psi: lower values give more typical and less varied images.  [default: the model's]",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The .png file to write."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
def mix_prompts(
    model: str,
    prompts: Sequence[str],
    mixes: Sequence[str],
    mix_from: int | None,
    seed: int,
    truncation: float | None,
    output: Path,
    device: str,
) -> None:
    """Generate a grid of mixed prompts: a row per prompt, a column per --mix.

    The first column has no second prompt. All images have the same seed, so that along a row only the second
    prompt differs.
    """
    from PIL import Image

    if output.suffix != ".png":
        raise OutputError(f"{output} is not a .png file.", "Give a name that ends in .png.")
    if output.exists():
        raise OutputError(f"{output} exists.", "Give another name, or remove it.")
    handle = zoo_core.load(model, device=device)
    if "mix" not in handle.card.options:
        raise OptionError(
            f"{handle.card.id} cannot mix prompts.", "Give a model that can: zoo list --plugin zoo-gigagan"
        )
    given = {"truncation": truncation, "mix_from": mix_from}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    sheet = ContactSheet(len(prompts) * (1 + len(mixes)), captions=True, columns=1 + len(mixes))
    for prompt in prompts:
        for mix in (None, *mixes):
            (sample,) = handle.generate(prompt, seed=seed, mix=mix, **options)
            image = sample.image
            zoom = -(-MIN_CELL // min(image.size))
            size = (image.width * zoom, image.height * zoom)
            caption = prompt if mix is None else f"+ {mix}"
            sheet.paste(image.resize(size, Image.Resampling.NEAREST), caption)
    save_images(output, [sheet.image], record_of_command(handle, seed))
    click.echo(f"{output}")
