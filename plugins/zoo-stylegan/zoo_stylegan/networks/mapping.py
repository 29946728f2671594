"""The mapping network, from noise and a class to w, and truncation.

Karras et al. 2019, "A Style-Based Generator Architecture for GANs", arXiv:1812.04948, sections 2 and B.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo_stylegan.networks.layers import EqualLinear, normalize_2nd_moment

LR_MULTIPLIER = 0.01
"""Learning rate of the mapping network relative to the synthesis network."""


class MappingNetwork(nn.Module):
    """Maps z, and one of ``classes`` in a conditional model, to w; with z_dim 0 the class alone."""

    w_avg: Tensor

    def __init__(self, z_dim: int, classes: int, w_dim: int, layers: int) -> None:
        super().__init__()
        self.z_dim, self.classes, self.layers = z_dim, classes, layers
        if classes:
            self.embed = EqualLinear(classes, w_dim)
        widths = [z_dim + w_dim * bool(classes)] + [w_dim] * layers
        for index in range(layers):
            layer = EqualLinear(
                widths[index], widths[index + 1], lr_multiplier=LR_MULTIPLIER, activation=True
            )
            self.add_module(f"fc{index}", layer)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor | None, c: Tensor | None = None) -> Tensor:
        """Map z (n, z_dim), None if z_dim is 0, and one-hot c (n, classes), None if unconditional, to w."""
        parts = [] if z is None else [normalize_2nd_moment(z)]
        if self.classes:
            assert c is not None, "a conditional mapping needs a class"
            parts.append(normalize_2nd_moment(self.embed(c)))
        x = torch.cat(parts, dim=1)
        for index in range(self.layers):
            x = self.get_submodule(f"fc{index}")(x)
        return x


def truncate(ws: Tensor, w_avg: Tensor, psi: float | Sequence[float], cutoff: int | None = None) -> Tensor:
    """Apply the truncation trick, w_avg + ψ (w − w_avg): arXiv:1812.04948, section B.

    Args:
        ws: Styles, (n, layers, w_dim).
        w_avg: Mean style, (w_dim,) or (n, 1, w_dim).
        psi: ψ, one for all samples or one per sample; 1 changes nothing, 0 returns w_avg.
        cutoff: Truncate the first N layers only, the coarsest; None: all.
    """
    share = torch.tensor(psi, dtype=ws.dtype, device=ws.device).view(-1, 1, 1)
    if bool((share == 1).all()):
        return ws
    truncated = torch.lerp(w_avg.expand_as(ws), ws, share)
    return truncated if cutoff is None else torch.cat([truncated[:, :cutoff], ws[:, cutoff:]], dim=1)
