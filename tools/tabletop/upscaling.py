"""Compare a model with bicubic interpolation on upscaling held-out renders.

    pip install stlpips-pytorch==0.0.2
    PYTHONPATH=tools python -m tabletop.upscaling MODEL [-n 200]

Renders of 64×64 are downsampled by averaging 4×4 pixels, and upscaled. It prints the perceptual distance
to the render (zoo_stylegan.latents.perceptual), and the PSNR to the render and, after
downsampling, to the input.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from zoo_gigagan.upsampler.network import FACTOR
from zoo_stylegan.latents.perceptual import LPIPS

import zoo_core as zoo
from tabletop.classifier import SIDE
from tabletop.render import render
from tabletop.scene import draw_scene

FIRST_SEED = 20_000_000
"""Models and the classifier are trained on lower seeds."""


def as_tensor(image: Image.Image) -> Tensor:
    """Return (1, 3, h, w) in [-1, 1]."""
    values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return values.view(1, image.height, image.width, 3).permute(0, 3, 1, 2).float() / 127.5 - 1


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB of images (n, 3, h, w) in [-1, 1]: (n,)."""
    return 10 * torch.log10(4 / (a - b).square().mean((1, 2, 3)))


@click.command()
@click.argument("model")
@click.option(
    "-n", "count", type=click.IntRange(1), default=200, show_default=True, help="Number of renders."
)
def main(model: str, count: int) -> None:
    """Upscale with MODEL (an id, hf:ORG/REPO or a folder), and compare."""
    handle, perceptual = zoo.load(model), LPIPS()
    originals, inputs, outputs = [], [], {"the model": [], "bicubic": []}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "small.png"
        for seed in range(FIRST_SEED, FIRST_SEED + count):
            image = Image.fromarray(render(draw_scene(seed), SIDE))
            reduced = image.reduce(FACTOR)
            reduced.save(file)
            originals.append(as_tensor(image))
            inputs.append(as_tensor(reduced))
            (sample,) = handle.generate(input=str(file), seed=seed)
            outputs["the model"].append(as_tensor(sample.image))
            outputs["bicubic"].append(as_tensor(reduced.resize(image.size, Image.Resampling.BICUBIC)))
    real, given = torch.cat(originals), torch.cat(inputs)
    for name, images in outputs.items():
        output = torch.cat(images)
        with torch.inference_mode():
            distance = perceptual(output, real)
        back = psnr(F.avg_pool2d(output, FACTOR), given)
        click.echo(
            f"{name}: perceptual distance {distance.mean():.4f}, PSNR {psnr(output, real).mean():.1f} dB, "
            f"after downsampling {back.mean():.1f} dB (minimum {back.min():.1f}); {count} images"
        )


if __name__ == "__main__":
    main()
