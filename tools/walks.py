"""Check that interpolation through a StyleGAN's w is smooth: compare the steps' LPIPS distances.

    python tools/walks.py MODEL [--walks 10] [--frames 60]

Each walk interpolates between four seeds of one class. A mean or largest step far above the median is a jump.
"""

from __future__ import annotations

import sys

import click
import numpy as np
import torch
from torch import Tensor
from zoo_stylegan.commands import generate_images
from zoo_stylegan.generator import StyleGAN
from zoo_stylegan.latents.perceptual import LPIPS

import zoo_core
from zoo_core import ZooError, latent_walk


def step_distances(generator: StyleGAN, walks: int, frames: int) -> Tensor:
    """Return the LPIPS distances of consecutive frames, one walk per class: (walks, frames − 1)."""
    lpips, distances = LPIPS(), []
    with torch.inference_mode():
        for label in range(walks):
            z = torch.cat([generator.draw_z(seed, label)[0] for seed in range(4 * label, 4 * label + 4)])
            w = latent_walk(generator.mapping(z, [label] * 4), frames, spherical=False, loop=False)
            ws = w[:, None].expand(-1, generator.config.layers, -1)
            arrays = [np.asarray(image) for image in generate_images(generator, ws, 1.0, 0)]
            images = torch.from_numpy(np.stack(arrays))[:, None].float() / 127.5 - 1
            distances.append(lpips(images[1:], images[:-1]))
    return torch.stack(distances)


@click.command()
@click.argument("model")
@click.option("--walks", default=10, show_default=True, help="Number of classes, from 0, with a walk each.")
@click.option("--frames", default=60, show_default=True, help="Frames of each walk.")
def main(model: str, walks: int, frames: int) -> None:
    """Measure the steps of interpolation in MODEL, a StyleGAN with classes."""
    generator = zoo_core.load(model).generator
    if not isinstance(generator, StyleGAN):
        raise ZooError(f"{model} is not a StyleGAN.", "List them: zoo list --plugin zoo-stylegan")
    steps = step_distances(generator, walks, frames)
    summary = {"mean": steps.mean(), "median": steps.median(), "largest": steps.max()}
    print(", ".join(f"{name} step {value:.4f}" for name, value in summary.items()))


if __name__ == "__main__":
    try:
        main()
    except ZooError as error:
        sys.exit(str(error))
