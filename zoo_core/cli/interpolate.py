"""``zoo interpolate``: a film of the way from seed to seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo_core.cli.completion import complete_models
from zoo_core.cli.console import loading_options, write
from zoo_core.cli.flags import Seeds
from zoo_core.cli.model_command import ModelCommand, card_of, command_of
from zoo_core.environment import Environment
from zoo_core.errors import OptionError, OutputError
from zoo_core.manifest.cards import ModelCard

if TYPE_CHECKING:
    from PIL.Image import Image

    from zoo_core.samples.record import Record

SUFFIXES = (".gif", ".png", ".apng", ".webp", ".mp4", ".webm")
MAX_SEEDS = 1000


@click.command(cls=ModelCommand, build=lambda *given: _command_for(*given))
@click.argument("model", shell_complete=complete_models)
@click.argument("prompt", nargs=-1, metavar="[PROMPT]...")
@click.option("--seeds", type=Seeds(), required=True, help="Seeds to interpolate between: 3,9,14 or 0-7.")
@click.option(
    "--frames", type=click.IntRange(2, 100_000), default=60, show_default=True, help="Number of frames."
)
@click.option(
    "--space",
    type=click.Choice(["z", "w"]),
    help="Interpolate in the noise, z, or in the model's latent space, w. [default: w if it has one]",
)
@click.option(
    "--path",
    type=click.Choice(["linear", "spherical"]),
    help="Interpolation between two seeds. [default: spherical in z, linear in w]",
)
@click.option("--loop", is_flag=True, help="Return to the first seed at the end.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Animation to write: .gif, .png (APNG), .webp, .mp4 or .webm; without a suffix, a folder of frames.",
)
@loading_options
def interpolate(**values: Any) -> None:
    """Animate the interpolation between seeds in a model's latent space.

    The first frame is the image that zoo run makes of the first seed, with the same options. Models with the
    capability latents have the space w; z is the noise of any model that begins with normals. A video, .mp4
    or .webm, needs the extra video of zoo-core. See a model's own options: zoo interpolate MODEL --help.
    """
    raise click.UsageError("Name a model.", click.get_current_context())


def _command_for(name: str, base: click.Command, args: Sequence[str]) -> click.Command:
    """Build ``zoo interpolate`` for one model, with the model's own options."""
    card = card_of(name)
    return command_of(
        name,
        card,
        base.params,
        card.options,
        lambda options, **values: _interpolate(card, options, **values),
        help=f"Animate the interpolation between seeds of {card.id}: {card.summary}",
    )


def _interpolate(
    card: ModelCard,
    options: Mapping[str, Any],
    *,
    prompt: tuple[str, ...],
    seeds: Sequence[int],
    frames: int,
    space: str | None,
    path: str | None,
    loop: bool,
    output: Path,
    device: str,
    dtype: str,
    adapter: str | None,
) -> None:
    from zoo_core.running.commands import record_of_command
    from zoo_core.running.planning import make_plan
    from zoo_core.running.walking import walk

    if not 2 <= len(seeds) <= MAX_SEEDS:
        raise OptionError(
            f"--seeds: expected 2 to {MAX_SEEDS} seeds, not {len(seeds)}.", "Give several: --seeds 3,9,14"
        )
    has_latents = "latents" in card.capabilities
    if space == "w" and not has_latents:
        raise OptionError(f"{card.id} has no space w.", "Interpolate in its noise: --space z")
    if card.output == "text":
        raise OptionError(f"{card.id} writes texts, which cannot be animated.", "Give a model of images.")
    _check_output(output)
    text = " ".join(prompt) or None
    make_plan(card, text, n=None, seed=None, seeds=seeds, options=options)
    model = Environment.current().load(card, device=device, dtype=dtype, adapter=adapter)
    space = space or ("w" if has_latents else "z")
    spherical = (space == "z") if path is None else path == "spherical"
    images = walk(model, seeds, frames, space=space, spherical=spherical, loop=loop, prompt=text, **options)
    _write_frames(output, images, record_of_command(model, seeds[0], text))
    write(f"{output}")


def _check_output(path: Path) -> None:
    """Check, before any work is done, that the file or folder can be written."""
    if path.suffix and path.suffix.lower() not in SUFFIXES:
        raise OutputError(
            f"{path}: {path.suffix} is not an animation format that can be written.",
            f"Give one of {', '.join(SUFFIXES)}, or a folder for frames.",
        )
    if path.exists():
        raise OutputError(f"{path} already exists.", "Give another path, or remove it.")


def _write_frames(path: Path, frames: Iterable[Image], record: Record) -> None:
    """Write an animation, or a folder of frames if the path has no suffix, each file with the record."""
    from zoo_core.samples.single import save_images

    if path.suffix:
        save_images(path, list(frames), record)
        return
    for number, frame in enumerate(frames):
        save_images(path / f"{number:05d}.png", [frame], record)
