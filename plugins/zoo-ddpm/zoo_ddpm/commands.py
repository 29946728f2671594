"""``zoo diffuse``: an image on its way to noise, and the model's way back."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

import zoo_core
from zoo_core import (
    InputImage,
    OptionError,
    OutputError,
    ZooError,
    read_option_image,
    record_of_command,
    save_images,
)

COLUMNS = 8
STEPS = 49
"""Steps of the way back, a multiple of the columns less one."""


@click.command()
@click.argument("model")
@click.argument("image")
@click.option("--label", type=click.IntRange(0), help="Class of the sample, for models with classes. [drawn]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the noise.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="New .png file.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
def diffuse(model: str, image: str, label: int | None, seed: int, output: Path, device: str) -> None:
    """Draw the forward process of an image beside the model's own way back.

    The rows: the noisy images q(x_t | x_0); the image that the model predicts of each; and the model's own
    way from the same noise to a sample. Below them, the noise schedule and the signal-to-noise ratio.
    """
    import torch

    from zoo_ddpm.forward_process import diffused
    from zoo_ddpm.generator import DDPM
    from zoo_ddpm.plots import draw_diffusion

    if find_spec("matplotlib") is None:
        raise ZooError(
            "zoo diffuse draws with matplotlib, which is not installed.",
            "Install it: pip install 'zoo-ddpm[plots]'",
        )
    if output.suffix != ".png":
        raise OutputError(f"{output} is not a .png file.", "Give a name that ends in .png.")
    if output.exists():
        raise OutputError(f"{output} exists.", "Give another name, or remove it.")
    loaded = zoo_core.load(model, device=device)
    if not isinstance(loaded.generator, DDPM):
        raise OptionError(f"{loaded.card.id} is no diffusion model of pixels.", "Name one: ddpm-digits")
    given = InputImage(read_option_image(image, "IMAGE"))
    with torch.inference_mode():
        shown = diffused(loaded.generator.model, given, label, seed, COLUMNS, STEPS)
        figure = draw_diffusion(loaded.generator.scheduler, shown.times, shown.rows)
    save_images(output, [figure], record_of_command(loaded, seed))
    click.echo(f"{output}")
