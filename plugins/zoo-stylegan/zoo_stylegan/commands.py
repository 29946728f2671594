"""``zoo interpolate``, ``zoo mix`` and ``zoo invert``: edit images in the latent space of a StyleGAN."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import zoo_core
from zoo_core import (
    ContactSheet,
    InputImage,
    Model,
    OptionError,
    Options,
    OutputError,
    Seeds,
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
MAX_SEEDS = 1000
"""Limit of the seeds of an interpolation, and of the rows or columns of a table."""


def _output(help_text: str) -> Callable[..., Any]:
    return click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help=help_text)


_device = click.option(
    "--device", default="auto", show_default=True, help="Device: auto, cpu, cuda, cuda:1, mps."
)
_label = click.option(
    "--label",
    type=click.IntRange(0),
    help="Class of all images, for models with classes. [default: drawn from each seed]",
)
_truncation = click.option(
    "--truncation",
    type=click.FloatRange(0, 2),
    default=1.0,
    show_default=True,
    help="Truncation psi: lower values give more typical and less varied images.",
)


@click.command()
@click.argument("model")
@click.option("--seeds", type=Seeds(), required=True, help="Seeds to interpolate between: 3,9,14 or 0-7.")
@click.option(
    "--frames", type=click.IntRange(2, 100_000), default=60, show_default=True, help="Number of frames."
)
@click.option(
    "--space",
    type=click.Choice(["z", "w"]),
    default="w",
    show_default=True,
    help="Latent space to interpolate in.",
)
@click.option(
    "--path",
    type=click.Choice(["linear", "spherical"]),
    help="Interpolation between two seeds. [default: spherical in z, linear in w]",
)
@click.option("--loop", is_flag=True, help="Return to the first seed at the end.")
@_output("Animation to write: .gif, .png (APNG), .webp, .mp4 or .webm; without a suffix, a folder of frames.")
@_truncation
@_label
@_device
def interpolate(
    model: str,
    seeds: Sequence[int],
    frames: int,
    space: str,
    path: str | None,
    loop: bool,
    output: Path,
    truncation: float,
    label: int | None,
    device: str,
) -> None:
    """Animate the interpolation between seeds in a model's latent space.

    The first frame is the image that zoo run makes of the first seed. A video, .mp4 or .webm, needs the extra
    video of zoo-core.
    """
    import torch

    from zoo_stylegan.latents import animation
    from zoo_stylegan.latents.interpolation import latent_walk

    if not 2 <= len(seeds) <= MAX_SEEDS:
        raise OptionError(
            f"--seeds: expected 2 to {MAX_SEEDS} seeds, not {len(seeds)}.", "Give several: --seeds 3,9,14"
        )
    animation.check_output(output)
    loaded, generator = _load(model, device)
    spherical = (space == "z") if path is None else path == "spherical"
    with torch.inference_mode():
        drawn = [generator.draw_z(seed, label) for seed in seeds]
        z = torch.cat([latent for latent, _ in drawn])
        labels = None if drawn[0][1] is None else [ids[0] for _, ids in drawn if ids]
        if space == "z" and labels is not None and len(set(labels)) > 1:
            raise OptionError(
                "--space z: the seeds have different classes, and interpolation in z is within one class.",
                "Add --label to give all the same class, or use --space w.",
            )
        anchors = z if space == "z" else generator.mapping(z, labels)
        w = latent_walk(anchors, frames, spherical=spherical, loop=loop)
        if space == "z":
            w = generator.mapping(w, None if labels is None else labels[:1] * frames)
        ws = w[:, None].expand(-1, generator.config.layers, -1)
        animation.write_frames(
            output, generate_images(generator, ws, truncation, seeds[0]), record_of_command(loaded, seeds[0])
        )
    click.echo(f"{output}")


@click.command()
@click.argument("model")
@click.option(
    "--rows", type=Seeds(), default="0-3", show_default=True, help="Seeds of the rows: the base images."
)
@click.option(
    "--columns",
    type=Seeds(),
    default="10-14",
    show_default=True,
    help="Seeds of the columns, whose styles replace the row's in --layers.",
)
@click.option(
    "--layers", help="Layers that take the column's style, such as 0-3 or 4-9,12. [default: the finer half]"
)
@_output("PNG file to write.")
@_truncation
@_label
@_device
def mix(
    model: str,
    rows: Sequence[int],
    columns: Sequence[int],
    layers: str | None,
    output: Path,
    truncation: float,
    label: int | None,
    device: str,
) -> None:
    """Make a table of images that mix the styles of two lists of seeds.

    The left column and the top row show the seeds' own images. Each cell is the row's image with the column's
    styles in some layers (Karras et al. 2018, figure 3).
    """
    import torch
    from PIL import Image

    from zoo_stylegan.latents.mixing import mix_styles, parse_layers

    _check_new(output)
    for side in (rows, columns):
        if not 1 <= len(side) <= MAX_SEEDS:
            raise OptionError(
                f"--rows and --columns: expected 1 to {MAX_SEEDS} seeds each, not {len(side)}.",
                "Give fewer: --rows 0-3 --columns 10-14",
            )
    loaded, generator = _load(model, device)
    count = generator.config.layers
    mixed_layers = parse_layers("--layers", layers or f"{count // 2}-{count - 1}", count)

    def styles(seed: int) -> Tensor:
        return generator.styles(*generator.draw_z(seed, label))

    with torch.inference_mode():
        left, top = [styles(seed) for seed in rows], [styles(seed) for seed in columns]
        cells = list(top)
        for own in left:
            cells += [own, *(mix_styles(own, other, mixed_layers) for other in top)]
        sheet = ContactSheet((len(rows) + 1) * (len(columns) + 1), columns=len(columns) + 1)
        for image in generate_images(generator, torch.cat(cells), truncation, rows[0]):
            if not sheet.filled:
                sheet.paste(Image.new(image.mode, image.size, "white"))
            sheet.paste(image)
    save_images(output, [sheet.image], record_of_command(loaded, rows[0]))
    click.echo(f"{output}")


@click.command()
@click.argument("model")
@click.argument("image", type=click.Path(path_type=Path))
@_output(".safetensors file to write.")
@click.option(
    "--steps", type=click.IntRange(1), default=300, show_default=True, help="Number of optimization steps."
)
@click.option(
    "--per-layer",
    is_flag=True,
    help="Optimize a style for each layer (W+): closer to the image, less typical of the model.",
)
@click.option("--label", type=click.IntRange(0), help="Class of the image; required for models with classes.")
@_device
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
