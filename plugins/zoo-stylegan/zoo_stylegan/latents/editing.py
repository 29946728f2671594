"""Edit an image by its styles.

Without a mask, the image's styles are found (:mod:`zoo_stylegan.latents.inversion`) and move towards those of
each seed. With one, each sample begins with the styles of its seed, which are fitted to the pixels that the
mask keeps: each seed fills the rest in its own way. Image2StyleGAN++ (arXiv:1911.11544) inpaints so, in W+.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from zoo_stylegan.formats.checkpoint import Generator
from zoo_stylegan.latents.inversion import inversion_steps

STRENGTH = 0.3
"""Default strength without a mask; with one it is 0."""


@dataclass(frozen=True)
class EditOptions:
    """Options of edits."""

    strength: float | None
    inversion_steps: int


def edited_styles(
    network: Generator,
    image: Tensor,
    anew: Tensor | None,
    seeds: Tensor,
    labels: Sequence[int] | None,
    options: EditOptions,
) -> Iterator[tuple[int, int, Tensor]]:
    """Yield how many steps are done, of how many, and styles (n, layers, w_dim): in the last step the result.

    Args:
        network: The generator in float32, with its parameters frozen.
        image: (1, c, resolution, resolution) in [-1, 1].
        anew: (1, 1, resolution, resolution), 1 where the image is made anew, else 0; None without a mask.
        seeds: The styles of the samples' seeds, (n, layers, w_dim).
        labels: Their classes; None in an unconditional model.
        options: How far the styles move, and how long they are looked for.
    """
    strength = options.strength
    if strength is None:
        strength = STRENGTH if anew is None else 0.0
    with torch.inference_mode(False):  # whose tensors take no part in gradients
        image, seeds = image.clone(), seeds.clone()
        walk = partial(inversion_steps, network, image, steps=options.inversion_steps, per_layer=True)
        if anew is None:  # one image, of an unknown class
            walks = [walk(label=None)]
        else:
            known = 1 - anew.to(image.device)
            walks = [
                walk(label=labels[row] if labels else None, start=seeds[row : row + 1], known=known)
                for row in range(len(seeds))
            ]
    total = len(walks) * options.inversion_steps + 1
    found: list[Tensor] = []
    for each in walks:
        for step in range(options.inversion_steps):
            with torch.inference_mode(False), torch.enable_grad():
                ws, _ = next(each)
            yield len(found) * options.inversion_steps + step + 1, total, seeds
        found.append(ws)
    yield total, total, torch.cat(found).expand_as(seeds).lerp(seeds, strength)
