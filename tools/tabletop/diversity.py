"""Compare how much a model's images of one prompt differ with how much renders of that prompt do.

    pip install stlpips-pytorch==0.0.2
    PYTHONPATH=tools python -m tabletop.diversity MODEL [-n 32] [--truncation 1.2]

For each object and material, apart from plain ones, it prints the mean perceptual distance between two images
(zoo_stylegan.latents.perceptual), of N samples of one prompt and of N renders, and their ratio.
"""

from __future__ import annotations

import itertools

import click
import torch
from PIL import Image
from torch import Tensor
from zoo_stylegan.latents.perceptual import LPIPS

import zoo_core as zoo
from tabletop.classifier import SIDE
from tabletop.render import render
from tabletop.scene import MATERIALS, OBJECTS, draw_scene
from tabletop.upscaling import FIRST_SEED, as_tensor

BATCH = 64
"""Pairs that are compared at once."""


def mean_distance(lpips: LPIPS, images: Tensor) -> float:
    """Return the mean distance of all pairs of images (n, 3, h, w) in [-1, 1]."""
    first, second = torch.triu_indices(len(images), len(images), 1)
    pairs = zip(first.split(BATCH), second.split(BATCH), strict=True)
    with torch.inference_mode():
        return float(torch.cat([lpips(images[a], images[b]) for a, b in pairs]).mean())


def renders_of(thing: str, material: str, n: int) -> Tensor:
    """Return n held-out renders of an object of a material, (n, 3, h, w) in [-1, 1]."""
    scenes = (draw_scene(seed) for seed in itertools.count(FIRST_SEED))
    wanted = (scene for scene in scenes if (scene.object, scene.material) == (thing, material))
    images = (Image.fromarray(render(scene, SIDE)) for scene in itertools.islice(wanted, n))
    return torch.cat([as_tensor(image) for image in images])


@click.command()
@click.argument("model")
@click.option("-n", "count", type=click.IntRange(2), default=32, show_default=True, help="Images per prompt.")
@click.option("--truncation", type=float, help="The model's option of the same name.")
def main(model: str, count: int, truncation: float | None) -> None:
    """Generate with MODEL (an id, hf:ORG/REPO or a folder), and compare."""
    handle, lpips, ratios = zoo.load(model), LPIPS(), []
    for thing, material in itertools.product(OBJECTS, MATERIALS[1:]):
        prompt = f"a {thing} made of {material} on a table"
        samples = torch.stack(
            [sample.tensor for sample in handle.generate(prompt, n=count, seed=0, truncation=truncation)]
        )
        made = mean_distance(lpips, samples)
        rendered = mean_distance(lpips, renders_of(thing, material, count))
        ratios.append(made / rendered)
        click.echo(f"{prompt}: samples {made:.3f}, renders {rendered:.3f}, ratio {ratios[-1]:.2f}")
    click.echo(f"mean ratio {sum(ratios) / len(ratios):.2f}, least {min(ratios):.2f}")


if __name__ == "__main__":
    main()
