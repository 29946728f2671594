"""``zoo interpolate``, ``zoo mix`` and ``zoo invert``: work in the latent space of a StyleGAN."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import click

import zoo_core
from zoo_core import ContactSheet, OptionError, OutputError, Seeds, ZooError, write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from zoo_core import Noise
    from zoo_stylegan.generator import StyleGAN

Command = Callable[..., None]
BATCH = 8
MOST_SEEDS = 1000
"""That a walk or one side of a table has."""


def _common(command: Command) -> Command:
    """The flags that all have."""
    for flag in (
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."),
        click.option("--label", type=click.IntRange(0), help="Class of every image."),
    ):
        command = flag(command)
    return command


def _truncation(command: Command) -> Command:
    return click.option(
        "--truncation",
        type=click.FloatRange(0, 2),
        default=1.0,
        show_default=True,
        help="Pull styles toward their mean.",
    )(command)


@click.command()
@click.argument("model")
@click.option("--seeds", type=Seeds(), required=True, help="Seeds to pass, as in 3,9,14 or 0-7.")
@click.option("--frames", type=click.IntRange(2, 100_000), default=60, show_default=True, help="In all.")
@click.option("--space", type=click.Choice(["z", "w"]), default="w", show_default=True)
@click.option(
    "--path",
    "way",
    type=click.Choice(["linear", "spherical"]),
    help="Line or arc. [spherical in z, linear in w]",
)
@click.option("--loop", is_flag=True, help="Lead back to the first seed.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="A .gif, .png (APNG) or .webp file; without a suffix, a folder of frames.",
)
@_truncation
@_common
def interpolate(
    model: str,
    seeds: Sequence[int],
    frames: int,
    space: str,
    way: str | None,
    loop: bool,
    output: Path,
    truncation: float,
    label: int | None,
    device: str,
) -> None:
    """Walk from seed to seed through a model's latent space.

    The first frame is what zoo run draws for the first seed. Of a folder of frames, ffmpeg makes a video:
    ffmpeg -i FOLDER/%05d.png walk.mp4
    """
    import torch

    from zoo_stylegan import animation
    from zoo_stylegan.latents import walk

    if not 2 <= len(seeds) <= MOST_SEEDS:
        raise OptionError(
            f"A walk passes 2 to {MOST_SEEDS} seeds, not {len(seeds)}.", "Give some as in 3,9,14."
        )
    animation.check_target(output)
    generator = _generator(model, device)
    spherical = (space == "z") if way is None else way == "spherical"
    with torch.inference_mode():
        latents = [generator.latent(seed, label) for seed in seeds]
        z = torch.cat([each for each, _ in latents])
        labels = None if latents[0][1] is None else [ids[0] for _, ids in latents if ids]
        if space == "z" and labels is not None and len(set(labels)) > 1:
            raise OptionError("In z, all frames are of one class.", "Add --label, or --space w.")
        anchors = z if space == "z" else generator.mapping(z, labels)
        places = walk(anchors, frames, spherical=spherical, loop=loop)
        of_frames = None if labels is None else labels[:1] * frames
        w = places if space == "w" else generator.mapping(places, of_frames)
        ws = w[:, None].expand(-1, generator.config.layers, -1)
        animation.write(output, drawn_of(generator, ws, truncation, seeds[0]))
    click.echo(f"{output}")


@click.command()
@click.argument("model")
@click.option("--rows", type=Seeds(), default="0-3", show_default=True, help="Seeds that lend all styles.")
@click.option("--columns", type=Seeds(), default="10-14", show_default=True, help="Seeds that lend some.")
@click.option("--layers", help="Layers that columns lend, as in 0-3. [the finer half]")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="A .png file.")
@_truncation
@_common
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
    """Draw a table of styles mixed from two lists of seeds.

    Each row's own image is on the left, each column's on top; in between is the row's with the column's
    styles in some layers (Karras et al. 2018, figure 3).
    """
    import torch
    from PIL import Image

    from zoo_stylegan.animation import encoded
    from zoo_stylegan.mixing import mixed, read_layers

    _check_new(output)
    for side in (rows, columns):
        if not 1 <= len(side) <= MOST_SEEDS:
            raise OptionError(f"A table has 1 to {MOST_SEEDS} seeds a side.", "Give some as in 3,9,14.")
    generator = _generator(model, device)
    count = generator.config.layers
    lent = read_layers("--layers", layers or f"{count // 2}-{count - 1}", count)

    def styles(seed: int) -> Tensor:
        z, labels = generator.latent(seed, label)
        return generator.styles(z, labels)

    with torch.inference_mode():
        left, top = [styles(seed) for seed in rows], [styles(seed) for seed in columns]
        cells = list(top)
        for own in left:
            cells += [own, *(mixed(own, other, lent) for other in top)]
        sheet = ContactSheet((len(rows) + 1) * (len(columns) + 1), columns=len(columns) + 1)
        for image in drawn_of(generator, torch.cat(cells), truncation, rows[0]):
            if not sheet.filled:
                sheet.paste(Image.new(image.mode, image.size, "white"))
            sheet.paste(image)
    write_atomically(output, encoded([sheet.image], "PNG"))
    click.echo(f"{output}")


@click.command()
@click.argument("model")
@click.argument("image", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="A .safetensors file.")
@click.option("--steps", type=click.IntRange(1), default=300, show_default=True)
@click.option("--per-layer", is_flag=True, help="A style for each layer: nearer, and less like the model.")
@_common
def invert(
    model: str,
    image: Path,
    output: Path,
    steps: int,
    per_layer: bool,
    label: int | None,
    device: str,
) -> None:
    """Find the styles with which a model draws a given image.

    Beside the file of styles it writes a sheet: the image, the mean one it began with, and what was found.
    Draw it again, mixed or truncated: zoo run MODEL --latent FILE.
    """
    import torch

    from zoo_stylegan.animation import encoded
    from zoo_stylegan.inversion import invert as find
    from zoo_stylegan.latents import write_latent

    if output.suffix != ".safetensors":
        raise OutputError(f"{output} is no .safetensors file.", "Give a name that ends in .safetensors.")
    sheet_path = output.with_suffix(".png")
    for path in (output, sheet_path):
        _check_new(path)
    generator = _generator(model, device)
    network, config = generator.network, generator.config
    if label is None and config.classes:
        raise OptionError("This model has classes.", "Say which the image is of: --label 7.")
    generator.check_label(label)
    goal = _read(image, config.image_channels, config.resolution).to(generator.device)
    quiet = not sys.stderr.isatty()
    with click.progressbar(length=steps, file=sys.stderr, hidden=quiet) as bar:

        def on_step(step: int, distance: float) -> None:
            bar.label = f"distance {distance:.4f}"
            bar.update(1)

        found = find(network, goal, label=label, steps=steps, per_layer=per_layer, on_step=on_step)
    with torch.inference_mode():
        mean = generator.styles(
            torch.zeros(1, config.z_dim, device=generator.device), None if label is None else [label]
        )
        drawn = list(drawn_of(generator, torch.cat([mean, found.ws]), 1.0, 0))
    sheet = ContactSheet(3, columns=3, captions=True)
    for cell, caption in zip([_image(goal), *drawn], ("given", "begun with", "found"), strict=True):
        sheet.paste(cell, caption)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_latent(output, found.ws)
    write_atomically(sheet_path, encoded([sheet.image], "PNG"))
    click.echo(f"{output}\n{sheet_path}")
    click.echo(f"Distance {found.distances[0]:.4f} at first, {found.distances[-1]:.4f} now.", err=True)


def _generator(model: str, device: str) -> StyleGAN:
    """The generator of a model that is a StyleGAN."""
    from zoo_stylegan.generator import StyleGAN

    loaded = zoo_core.load(model, device=device)
    if not isinstance(loaded.generator, StyleGAN):
        raise ZooError(
            f"{loaded.card.id} has no styles.", "Give a StyleGAN: zoo list shows them under the family gan."
        )
    return loaded.generator


def drawn_of(generator: StyleGAN, ws: Tensor, truncation: float, seed: int) -> Iterator[Image]:
    """Images of styles (n, layers, w_dim), with the constant noise of the checkpoint."""
    import torch

    from zoo_stylegan.mapping import truncate

    ws = truncate(ws, generator.network.mapping.w_avg, truncation)
    options = SimpleNamespace(noise="const", rotate=0.0, translate=None, transform=None)
    for part in torch.split(ws, BATCH):
        noise: Noise = zoo_core.Noise([seed] * len(part), generator.device)
        for image in generator.synthesize(part, options, noise):
            yield _image(image[None])


def _image(image: Tensor) -> Image:
    """An image (1, c, h, w) in [-1, 1] as Pillow has it."""
    from PIL import Image

    array = ((image[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def _check_new(path: Path) -> None:
    if path.exists():
        raise OutputError(f"{path} is there already.", "Give another path, or remove it.")
    if not path.suffix:
        raise OutputError(f"{path} has no suffix.", "Give a file, such as out.png.")


def _read(path: Path, channels: int, side: int) -> Tensor:
    """An image file as (1, channels, side, side) in [-1, 1]: its middle square, scaled."""
    import numpy as np
    import torch
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            upright = ImageOps.exif_transpose(file).convert("L" if channels == 1 else "RGB")
            image = ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ZooError(f"{path} cannot be read as an image.", "Give a PNG or JPEG file.") from error
    pixels = torch.from_numpy(np.array(image)).float() / 127.5 - 1
    return pixels[None, None] if channels == 1 else pixels.permute(2, 0, 1)[None]
