"""``zoo encode`` and ``zoo decode``: an image to latents, and latents to an image."""

from __future__ import annotations

from pathlib import Path

import click

from zoo_core.cli.completion import complete_models
from zoo_core.cli.console import loading_options, write
from zoo_core.cli.model_command import capable_card
from zoo_core.environment import Environment
from zoo_core.errors import OptionError, OutputError

IMAGES = (".png", ".webp")


@click.command()
@click.argument("model", shell_complete=complete_models)
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write: .safetensors or .npz, with the latents as “latents”.",
)
@loading_options
def encode(model: str, image: Path, output: Path, device: str, dtype: str, adapter: str | None) -> None:
    """Write the latents of an image.

    zoo decode maps them back. MODEL has the capability encode, as the autoencoder of a latent diffusion
    model, alone or in its pipeline: zoo list --capability encode. The latents are the mean of their
    distribution, scaled as the model's denoiser takes them; an image whose sides the model cannot halve so
    often is resized.
    """
    from zoo_core.running.commands import record_of_command
    from zoo_core.running.latent_files import check_image, check_latents_path, write_latents

    card = capable_card(model, "encode", "encode images")
    check_latents_path(output)
    check_image(image)
    loaded = Environment.current().load(card, device=device, dtype=dtype, adapter=adapter)
    latents = loaded.encode_image(image)
    write_latents(output, latents, record_of_command(loaded, 0))
    shape = " × ".join(map(str, latents.shape[1:]))
    write(f"{output}: {shape}")


@click.command()
@click.argument("model", shell_complete=complete_models)
@click.argument("latents", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Image to write: .png or .webp.",
)
@loading_options
def decode(model: str, latents: Path, output: Path, device: str, dtype: str, adapter: str | None) -> None:
    """Write the image of latents.

    MODEL is one with the capability encode, and LATENTS a file of zoo encode, or any .safetensors or .npz
    with an array “latents” of one item.
    """
    from zoo_core.running.commands import record_of_command
    from zoo_core.running.latent_files import read_latents
    from zoo_core.samples.images import to_bytes, to_image
    from zoo_core.samples.single import save_images

    card = capable_card(model, "encode", "decode latents")
    if output.suffix.lower() not in IMAGES:
        raise OutputError(f"{output}: an image is written as {' or '.join(IMAGES)}.", "Change the suffix.")
    if output.exists():
        raise OutputError(f"{output} already exists.", "Give another path, or remove it.")
    read = read_latents(latents)
    if len(read) != 1:
        raise OptionError(
            f"{latents} holds the latents of {len(read)} images, and one is written.",
            "Decode several in Python: zoo_core.load(MODEL).decode(latents)",
        )
    loaded = Environment.current().load(card, device=device, dtype=dtype, adapter=adapter)
    (image,) = loaded.decode(read)
    save_images(output, [to_image(to_bytes(image))], record_of_command(loaded, 0))
    write(f"{output}: {image.shape[2]} × {image.shape[1]} pixels")
