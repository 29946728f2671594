"""``zoo invert``: find the styles of an image."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

import zoo_core
from zoo_core import (
    ContactSheet,
    InputImage,
    Model,
    OptionError,
    Options,
    OutputError,
    ZooError,
    read_option_image,
    record_of_command,
    save_images,
)

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from zoo_stylegan.generator import StyleGAN

BATCH = 8


@click.command()
@click.argument("model")
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help=".safetensors file to write."
)
@click.option(
    "--steps", type=click.IntRange(1), default=300, show_default=True, help="Number of optimization steps."
)
@click.option(
    "--per-layer",
    is_flag=True,
    help="Optimize a style for each layer (W+): closer to the image, less typical of the model.",
)
@click.option("--label", type=click.IntRange(0), help="Class of the image; required for models with classes.")
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda, cuda:1, mps.")
def invert(
    model: str,
    image: Path,
    output: Path,
    steps: int,
    per_layer: bool,
    label: int | None,
    device: str,
) -> None:
    """Find the styles with which a model reproduces a given image.

    Writes the styles, and beside them a PNG with the given image, the model's mean image, and the result. Use
    the styles with zoo run MODEL --latent FILE, with --mix or --truncation if you like.
    """
    import torch

    from zoo_stylegan.latents.files import write_latent
    from zoo_stylegan.latents.inversion import invert as run_inversion

    if output.suffix != ".safetensors":
        raise OutputError(
            f"{output} does not end in .safetensors.", f"Write to {output.with_suffix('.safetensors')}."
        )
    sheet_path = output.with_suffix(".png")
    for path in (output, sheet_path):
        _check_new(path)
    loaded, generator = _load(model, device)
    network, config = generator.network, generator.config
    if label is None and config.classes:
        raise OptionError("This model has classes.", "Give the class of the image: --label 7")
    generator.draw_z(0, label)  # refuses an unknown class before any work is done
    square = InputImage(read_option_image(str(image), "")).fitted((config.resolution, config.resolution))
    target = square.pixels(channels=config.image_channels).to(generator.device)
    quiet = not sys.stderr.isatty()
    with click.progressbar(length=steps, file=sys.stderr, hidden=quiet) as bar:

        def on_step(step: int, distance: float) -> None:
            bar.label = f"distance {distance:.4f}"
            bar.update(1)

        result = run_inversion(
            network, target, label=label, steps=steps, per_layer=per_layer, on_step=on_step
        )
    with torch.inference_mode():
        mean = generator.styles(
            torch.zeros(1, config.z_dim, device=generator.device), None if label is None else [label]
        )
        images = list(generate_images(generator, torch.cat([mean, result.ws]), 1.0, 0))
    sheet = ContactSheet(3, columns=3, captions=True)
    for cell, caption in zip([_to_pil(target[0]), *images], ("given", "mean", "found"), strict=True):
        sheet.paste(cell, caption)
    output.parent.mkdir(parents=True, exist_ok=True)
    record = record_of_command(loaded, 0)
    write_latent(output, result.ws, record)
    save_images(sheet_path, [sheet.image], record)
    click.echo(f"{output}\n{sheet_path}")
    first, last = result.distances[0], result.distances[-1]
    click.echo(f"Perceptual distance: {first:.4f} at first, {last:.4f} at the end.", err=True)


def _load(model: str, device: str) -> tuple[Model, StyleGAN]:
    """Load a model and return it with its generator, which must be a StyleGAN."""
    from zoo_stylegan.generator import StyleGAN

    loaded = zoo_core.load(model, device=device)
    if not isinstance(loaded.generator, StyleGAN):
        raise ZooError(f"{loaded.card.id} is not a StyleGAN.", "List them: zoo list --plugin zoo-stylegan")
    return loaded, loaded.generator


def generate_images(generator: StyleGAN, ws: Tensor, truncation: float, seed: int) -> Iterator[Image]:
    """Yield the images of styles (n, layers, w_dim), with the checkpoint's constant noise."""
    import torch

    from zoo_stylegan.networks.mapping import truncate

    ws = truncate(ws, generator.network.mapping.w_avg, truncation)
    options = Options(noise="const", rotate=0.0, translate=None, transform=None)
    for part in torch.split(ws, BATCH):
        noise = zoo_core.Noise([seed] * len(part), generator.device)
        yield from map(_to_pil, generator.synthesize(part, options, noise))


def _to_pil(image: Tensor) -> Image:
    """Convert an image (c, h, w) in [-1, 1] to a PIL image."""
    from PIL import Image

    array = ((image + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def _check_new(path: Path) -> None:
    if path.exists():
        raise OutputError(f"{path} already exists.", "Give another path, or remove it.")
    if not path.suffix:
        raise OutputError(f"{path} has no suffix.", "Give a file, such as out.png.")
