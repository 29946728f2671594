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
from zoo_stylegan.latents.perceptual import LPIPS

STRENGTH = 0.3
"""Default strength without a mask; with one it is 0."""


@dataclass(frozen=True)
class EditOptions:
    """Options of edits."""

    strength: float | None
    inversion_steps: int


class StyleEditor:
    """Finds styles of images, with what that needs loaded once.

    Args:
        network: The generator in float32, with its parameters frozen.
        lpips: The perceptual distance, on the network's device.
    """

    def __init__(self, network: Generator, lpips: LPIPS) -> None:
        self._network, self._lpips = network, lpips
        self._found: tuple[Tensor, int, Tensor] | None = None
        """The last image without a mask, the steps, and its styles: the other batches of a run take them."""

    def edited_styles(
        self,
        image: Tensor,
        anew: Tensor | None,
        seeds: Tensor,
        labels: Sequence[int] | None,
        options: EditOptions,
    ) -> Iterator[tuple[int, int, Tensor]]:
        """Yield how many steps are done, of how many, and styles (n, layers, w_dim): at last the result.

        Args:
            image: (1, c, resolution, resolution) in [-1, 1].
            anew: (1, 1, resolution, resolution), 1 where the image is made anew, else 0; None without a mask.
            seeds: The styles of the samples' seeds, (n, layers, w_dim).
            labels: Their classes; None in an unconditional model.
            options: How far the styles move, and how long they are looked for.
        """
        steps, strength = options.inversion_steps, options.strength
        if strength is None:
            strength = STRENGTH if anew is None else 0.0
        with torch.inference_mode(False):  # whose tensors take no part in gradients
            image, seeds = image.clone(), seeds.clone()
        known = None if anew is None else 1 - anew.to(image.device)
        found: list[Tensor] = []
        walks: list[Iterator[tuple[Tensor, float]]] = []
        walk = partial(inversion_steps, self._network, self._lpips, image, steps=steps, per_layer=True)
        if known is not None:
            walks = [
                walk(label=labels[row] if labels else None, start=seeds[row : row + 1], known=known)
                for row in range(len(seeds))
            ]
        elif (before := self._known_styles(image, steps)) is not None:
            found = [before]
        else:  # one image, of an unknown class
            walks = [walk(label=None)]
        total = len(walks) * steps + 1
        for number, each in enumerate(walks):
            for step in range(steps):
                with torch.inference_mode(False), torch.enable_grad():
                    ws, _ = next(each)
                yield number * steps + step + 1, total, seeds
            found.append(ws)
        if known is None:
            self._found = image, steps, found[0]
        yield total, total, torch.cat(found).expand_as(seeds).lerp(seeds, strength)

    def _known_styles(self, image: Tensor, steps: int) -> Tensor | None:
        if self._found is None:
            return None
        last, taken, ws = self._found
        return ws if taken == steps and torch.equal(last, image) else None
