"""Adaptive discriminator augmentation (ADA): augment images with a probability that avoids overfitting.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", arXiv:2006.06676: the
controller of section 3, with the ranges of appendix B. Flips, integer translation and isotropic scaling are
separable, so one matrix for the rows and one for the columns of each image does all three. They can be
differentiated twice, which R1 needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

KINDS = ("flip", "translate", "scale", "colour")
LUMA = (1 / 3, 1 / 3, 1 / 3)
"""Direction of the grey axis, about which hue and saturation change."""


class Augment(nn.Module):
    """Augments images with probability p, and adapts p to how much the discriminator overfits.

    Args:
        kinds: Augmentations to use, from ``KINDS``.
        target: Target of r_t, the mean sign of the logits of real images: 0.6 in the paper. 0: p stays 0.
        images_to_full: Number of images in which p can go from 0 to 1: 500,000 in the paper.
    """

    p: Tensor
    sign: Tensor

    def __init__(
        self, kinds: Sequence[str] = KINDS, target: float = 0.6, images_to_full: int = 500_000
    ) -> None:
        super().__init__()
        self.kinds, self.target, self.images_to_full = tuple(kinds), target, images_to_full
        self.register_buffer("p", torch.zeros(()))
        self.register_buffer("sign", torch.zeros(()))

    @torch.no_grad()
    def adjust(self, logits: Tensor) -> None:
        """Raise p if r_t is above the target, and lower it otherwise.

        r_t, equation 1, is a moving average over about four batches of the mean sign of real images' logits.
        """
        if self.target:
            self.sign.lerp_(logits.float().sign().mean(), 1 / 4)
            change = (self.sign - self.target).sign() * len(logits) / self.images_to_full
            self.p.add_(change).clamp_(0, 1)

    def forward(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Augment images (n, c, h, w), each independently."""
        if not self.p:
            return x
        x = self._geometric(x, random)
        return self._colour(x, random) if "colour" in self.kinds else x

    def _geometric(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Flip, translate and scale."""
        n, _, height, width = x.shape

        def uniform() -> Tensor:
            return torch.rand(n, generator=random, device=x.device)

        flip = self._apply_with_p(uniform() < 0.5, False, "flip", uniform())
        factor = torch.exp2(0.2 * torch.randn(n, generator=random, device=x.device))
        factor = self._apply_with_p(factor, 1.0, "scale", uniform())
        chance = uniform()
        shifts = [
            self._apply_with_p(((uniform() * 2 - 1) * side / 8).round(), 0.0, "translate", chance)
            for side in (height, width)
        ]
        rows = resampling_matrix(height, factor, shifts[0], torch.zeros_like(flip))
        columns = resampling_matrix(width, factor, shifts[1], flip)
        return rows[:, None].to(x) @ x @ columns[:, None].transpose(2, 3).to(x)

    def _colour(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Change brightness and contrast, and in RGB images hue and saturation."""
        n, channels = x.shape[:2]

        def normal() -> Tensor:
            return torch.randn(n, generator=random, device=x.device)

        def uniform() -> Tensor:
            return torch.rand(n, generator=random, device=x.device)

        brightness = self._apply_with_p(0.2 * normal(), 0.0, "colour", uniform())
        contrast = self._apply_with_p(torch.exp2(0.5 * normal()), 1.0, "colour", uniform())
        x = (x + brightness.to(x)[:, None, None, None]) * contrast.to(x)[:, None, None, None]
        if channels != len(LUMA):
            return x
        angle = self._apply_with_p((uniform() * 2 - 1) * math.pi, 0.0, "colour", uniform())
        saturation = self._apply_with_p(torch.exp2(normal()), 1.0, "colour", uniform())
        matrix = hue_saturation_matrix(angle, saturation).to(x)
        return torch.einsum("nij,njhw->nihw", matrix, x)

    def _apply_with_p(self, value: Tensor, neutral: float, kind: str, chance: Tensor) -> Tensor:
        """Return ``value`` where ``chance``, uniform in [0, 1), is below p and the kind is used."""
        applied = (chance < self.p) & (kind in self.kinds)
        return torch.where(applied, value, torch.full_like(value, neutral))


def resampling_matrix(side: int, factor: Tensor, shift: Tensor, flip: Tensor) -> Tensor:
    """Return (n, side, side), the weight of each input pixel of a row in each output pixel.

    The row is mirrored where ``flip`` (n,), magnified about its centre by ``factor`` (n,), and moved by
    ``shift`` (n,) pixels. Interpolation is linear, with a wider kernel when shrinking; beyond the ends it
    is reflected.
    """
    at = torch.arange(side, device=factor.device, dtype=torch.float32)
    centre = (side - 1) / 2
    source = (at - centre - shift[:, None]) / factor[:, None]  # (n, side), from the centre
    source = torch.where(flip[:, None], -source, source) + centre
    radius = (1 / factor).clamp(min=1)[:, None, None]
    # Reflected copies up to twice the side beyond each end: more than any factor and shift reach.
    tiles = [tile * side + (at if tile % 2 == 0 else at.flip(0)) for tile in range(-2, 3)]
    weights = [(1 - (source[:, :, None] - tile).abs() / radius).clamp(min=0) for tile in tiles]
    total = torch.stack(weights).sum(0)
    return total / total.sum(2, keepdim=True)


def hue_saturation_matrix(angle: Tensor, saturation: Tensor) -> Tensor:
    """Return (n, 3, 3): a rotation about the grey axis by an angle (n,), and scaling away from it (n,)."""
    grey = torch.tensor(LUMA, device=angle.device) * math.sqrt(len(LUMA))
    along = torch.outer(grey, grey)
    zero = torch.zeros((), device=angle.device)
    across = torch.stack([zero, -grey[2], grey[1], grey[2], zero, -grey[0], -grey[1], grey[0], zero]).view(
        3, 3
    )
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    # Rodrigues' rotation formula, for the component orthogonal to the axis.
    rotated = cos * (torch.eye(3, device=angle.device) - along) + sin * across
    return along + saturation[:, None, None] * rotated
