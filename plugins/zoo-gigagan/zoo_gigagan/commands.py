"""``zoo mix-prompts``: a table of prompts and mixes, as in Kang et al. 2023, arXiv:2303.05511."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import zoo_core
from zoo_core import ContactSheet, OptionError, OutputError, write_atomically

SMALLEST_CELL = 128
"""Side of an image on the table at least: captions are read below it."""


@click.command("mix-prompts")
@click.argument("model")
@click.argument("prompts", nargs=-1, required=True, metavar="PROMPT...")
@click.option("--mix", "mixes", multiple=True, required=True, help="A prompt to mix in; give several.")
@click.option("--mix-from", type=click.IntRange(1), help="Side of the smallest map that is drawn of it.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--truncation",
    type=click.FloatRange(0, 2),
    default=1.0,
    show_default=True,
    help="Pull styles toward their mean.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="A .png file.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
def mix_prompts(
    model: str,
    prompts: Sequence[str],
    mixes: Sequence[str],
    mix_from: int | None,
    seed: int,
    truncation: float,
    output: Path,
    device: str,
) -> None:
    """Draw a table: a row for each prompt, a column for each mix, and no mixing in the first column.

    All images are of one seed, so that along a row only the second prompt differs.
    """
    from PIL import Image

    if output.suffix != ".png":
        raise OutputError(f"{output} is no .png file.", "Give a name that ends in .png.")
    if output.exists():
        raise OutputError(f"{output} exists.", "Give another name, or remove it.")
    handle = zoo_core.load(model, device=device)
    if "mix" not in handle.card.options:
        raise OptionError(
            f"{handle.card.id} mixes no prompts.", "Give a model that does: zoo list --plugin zoo-gigagan"
        )
    options: dict[str, Any] = {"truncation": truncation} | (
        {} if mix_from is None else {"mix_from": mix_from}
    )
    sheet = ContactSheet(len(prompts) * (1 + len(mixes)), captions=True, columns=1 + len(mixes))
    for prompt in prompts:
        for mix in (None, *mixes):
            (sample,) = handle.generate(prompt, seed=seed, mix=mix, **options)
            image = sample.image
            zoom = -(-SMALLEST_CELL // min(image.size))
            size = (image.width * zoom, image.height * zoom)
            caption = prompt if mix is None else f"+ {mix}"
            sheet.paste(image.resize(size, Image.Resampling.NEAREST), caption)
    file = io.BytesIO()
    sheet.image.save(file, "PNG")
    write_atomically(output, file.getvalue())
    click.echo(f"{output}")
