"""ADA: images altered before the discriminator sees them, as often as it takes to keep it from overfitting.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", arXiv:2006.06676: the
controller is that of section 3, the ranges are those of appendix B. Flips, whole-pixel moves and isotropic
scaling act on rows and columns alone; a matrix for each, made for each image, does all three at once, and
can be differentiated as often as R1 needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

KINDS = ("flip", "translate", "scale", "colour")
LUMA = (1 / 3, 1 / 3, 1 / 3)
"""The direction of brightness that contrast, hue and saturation leave alone."""


class Augment(nn.Module):
    """Alters images with probability p, and moves p by how sure the discriminator is of real ones.

    Args:
        kinds: Some of ``KINDS``.
        target: The mean sign of the logits of real images that p holds: 0.6 in the paper. 0: p stays 0.
        images_to_full: Images after which p has gone from 0 to 1, if it only grew: 500,000 in the paper.
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
        """Move p by a batch: up where real images are told too surely, r_t > target, else down.

        Args:
            logits: Of a batch of real images, (n,). r_t, equation 1, is their mean sign over about the last
                four batches.
        """
        if self.target:
            self.sign.lerp_(logits.float().sign().mean(), 1 / 4)
            change = (self.sign - self.target).sign() * len(logits) / self.images_to_full
            self.p.add_(change).clamp_(0, 1)

    def forward(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Alter images (n, c, h, w), each on its own."""
        if not self.p:
            return x
        return (
            self._colour(self._place(x, random), random) if "colour" in self.kinds else self._place(x, random)
        )

    def _place(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Flip, move and scale."""
        n, _, height, width = x.shape

        def uniform() -> Tensor:
            return torch.rand(n, generator=random, device=x.device)

        flip = self._some(uniform() < 0.5, False, "flip", uniform())
        factor = torch.exp2(0.2 * torch.randn(n, generator=random, device=x.device))
        factor = self._some(factor, 1.0, "scale", uniform())
        moved = uniform()
        moves = [
            self._some(((uniform() * 2 - 1) * side / 8).round(), 0.0, "translate", moved)
            for side in (height, width)
        ]
        rows = resampling(height, factor, moves[0], torch.zeros_like(flip))
        columns = resampling(width, factor, moves[1], flip)
        return rows[:, None].to(x) @ x @ columns[:, None].transpose(2, 3).to(x)

    def _colour(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Change brightness, contrast and, of images in colours, hue and saturation."""
        n, channels = x.shape[:2]

        def normal() -> Tensor:
            return torch.randn(n, generator=random, device=x.device)

        def uniform() -> Tensor:
            return torch.rand(n, generator=random, device=x.device)

        brightness = self._some(0.2 * normal(), 0.0, "colour", uniform())
        contrast = self._some(torch.exp2(0.5 * normal()), 1.0, "colour", uniform())
        x = (x + brightness.to(x)[:, None, None, None]) * contrast.to(x)[:, None, None, None]
        if channels != len(LUMA):
            return x
        angle = self._some((uniform() * 2 - 1) * math.pi, 0.0, "colour", uniform())
        saturation = self._some(torch.exp2(normal()), 1.0, "colour", uniform())
        turn = hue_and_saturation(angle, saturation).to(x)
        return torch.einsum("nij,njhw->nihw", turn, x)

    def _some(self, value: Tensor, neutral: float, kind: str, chance: Tensor) -> Tensor:
        """Take ``value`` where chance, uniform in [0, 1), is below p, and the kind is wanted."""
        applied = (chance < self.p) & (kind in self.kinds)
        return torch.where(applied, value, torch.full_like(value, neutral))


def resampling(side: int, factor: Tensor, move: Tensor, flip: Tensor) -> Tensor:
    """Return (n, side, side): the share of each pixel of a row in each pixel of the altered row.

    Interpolates linearly, over a wider reach where it shrinks; beyond the ends a row goes on mirrored.

    Args:
        side: Pixels.
        factor: What it is magnified by about its middle, (n,).
        move: Pixels that it is then moved by, (n,).
        flip: Whether it is mirrored first, (n,) bool.
    """
    at = torch.arange(side, device=factor.device, dtype=torch.float32)
    middle = (side - 1) / 2
    source = (at - middle - move[:, None]) / factor[:, None]  # (n, side), from the middle
    source = torch.where(flip[:, None], -source, source) + middle
    reach = (1 / factor).clamp(min=1)[:, None, None]
    # Twice the side beyond either end, mirrored at each: more than any factor or move can ask for.
    tiles = [tile * side + (at if tile % 2 == 0 else at.flip(0)) for tile in range(-2, 3)]
    shares = [(1 - (source[:, :, None] - tile).abs() / reach).clamp(min=0) for tile in tiles]
    total = torch.stack(shares).sum(0)
    return total / total.sum(2, keepdim=True)


def hue_and_saturation(angle: Tensor, saturation: Tensor) -> Tensor:
    """Return (n, 3, 3): turns colours about the grey axis by an angle (n,) and scales how far from it."""
    grey = torch.tensor(LUMA, device=angle.device) * math.sqrt(len(LUMA))
    along = torch.outer(grey, grey)
    zero = torch.zeros((), device=angle.device)
    across = torch.stack([zero, -grey[2], grey[1], grey[2], zero, -grey[0], -grey[1], grey[0], zero]).view(
        3, 3
    )
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    # Rodrigues' rotation formula, of the part across the axis.
    turned = cos * (torch.eye(3, device=angle.device) - along) + sin * across
    return along + saturation[:, None, None] * turned
