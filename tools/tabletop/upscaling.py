"""Say how well a model enlarges renders that it has not seen, beside bicubic interpolation.

    pip install stlpips-pytorch==0.0.2
    PYTHONPATH=tools python -m tabletop.enlargement MODEL [-n 200]

Renders of 64×64 are made small by the mean of 4×4 pixels and enlarged again. Told are the perceptual
distance to the render (zoo_stylegan.perceptual), and how much the enlarged image, made small, differs from
the small one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from zoo_gigagan.tiles import FACTOR
from zoo_stylegan.perceptual import Perceptual

import zoo_core as zoo
from tabletop.judge import SIDE
from tabletop.render import render
from tabletop.scene import draw_scene

FIRST_SEED = 20_000_000
"""Models and the judge learn from the seeds far below."""


def as_tensor(image: Image.Image) -> Tensor:
    """Return (1, 3, h, w) in [-1, 1]."""
    values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return values.view(1, image.height, image.width, 3).permute(0, 3, 1, 2).float() / 127.5 - 1


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB of images (n, 3, h, w) in [-1, 1]: (n,)."""
    return 10 * torch.log10(4 / (a - b).square().mean((1, 2, 3)))


@click.command()
@click.argument("model")
@click.option("-n", "count", type=click.IntRange(1), default=200, show_default=True)
def main(model: str, count: int) -> None:
    """Enlarge and compare."""
    handle, perceptual = zoo.load(model), Perceptual()
    large, small, drawn = [], [], {"the model": [], "bicubic": []}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "small.png"
        for seed in range(FIRST_SEED, FIRST_SEED + count):
            image = Image.fromarray(render(draw_scene(seed), SIDE))
            reduced = image.reduce(FACTOR)
            reduced.save(file)
            large.append(as_tensor(image))
            small.append(as_tensor(reduced))
            (sample,) = handle.generate(input=str(file), seed=seed)
            drawn["the model"].append(as_tensor(sample.image))
            drawn["bicubic"].append(as_tensor(reduced.resize(image.size, Image.Resampling.BICUBIC)))
    real, given = torch.cat(large), torch.cat(small)
    for name, images in drawn.items():
        made = torch.cat(images)
        with torch.inference_mode():
            distance = perceptual(made, real)
        back = psnr(F.avg_pool2d(made, FACTOR), given)
        click.echo(
            f"{name}: perceptual distance {distance.mean():.4f}, PSNR {psnr(made, real).mean():.1f} dB, "
            f"made small again {back.mean():.1f} dB (least {back.min():.1f}) of {count}"
        )


if __name__ == "__main__":
    main()
