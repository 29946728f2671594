"""Has a walk through a StyleGAN's styles jumps? A mean perceptual step far above the median would be some.

    python tools/walks.py MODEL [--walks 10] [--frames 60]

Each walk goes through four seeds of one class. Steps are measured by LPIPS.
"""

from __future__ import annotations

import sys

import click
import numpy as np
import torch
from torch import Tensor
from zoo_stylegan.commands import drawn_of
from zoo_stylegan.generator import StyleGAN
from zoo_stylegan.latents import walk
from zoo_stylegan.perceptual import Perceptual

import zoo_core
from zoo_core import ZooError


def steps_of_walks(generator: StyleGAN, walks: int, frames: int) -> Tensor:
    """Return the perceptual lengths of the steps of walks, a class each: (walks, frames − 1)."""
    perceptual, lengths = Perceptual(), []
    with torch.inference_mode():
        for label in range(walks):
            z = torch.cat([generator.latent(seed, label)[0] for seed in range(4 * label, 4 * label + 4)])
            places = walk(generator.mapping(z, [label] * 4), frames, spherical=False, loop=False)
            ws = places[:, None].expand(-1, generator.config.layers, -1)
            images = [np.asarray(image) for image in drawn_of(generator, ws, 1.0, 0)]
            images = torch.from_numpy(np.stack(images))[:, None].float() / 127.5 - 1
            lengths.append(perceptual(images[1:], images[:-1]))
    return torch.stack(lengths)


@click.command()
@click.argument("model")
@click.option("--walks", default=10, show_default=True, help="Classes from 0 on, one a walk.")
@click.option("--frames", default=60, show_default=True, help="Images of each walk.")
def main(model: str, walks: int, frames: int) -> None:
    """Measure MODEL, a StyleGAN with classes."""
    generator = zoo_core.load(model).generator
    if not isinstance(generator, StyleGAN):
        raise ZooError(f"{model} is no StyleGAN.", "Name one: zoo list --plugin zoo-stylegan")
    steps = steps_of_walks(generator, walks, frames)
    told = {"mean": steps.mean(), "median": steps.median(), "largest": steps.max()}
    print(", ".join(f"{name} step {value:.4f}" for name, value in told.items()))


if __name__ == "__main__":
    try:
        main()
    except ZooError as error:
        sys.exit(str(error))
