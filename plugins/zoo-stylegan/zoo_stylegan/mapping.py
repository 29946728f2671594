"""From noise and a class to the style vectors that the layers of an image read.

Karras et al. 2019, "A Style-Based Generator Architecture for GANs", arXiv:1812.04948, sections 2 and B.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo_stylegan.layers import EqualLinear, normalise

RATE = 0.01
"""How fast the mapping learns beside the synthesis."""


class Mapping(nn.Module):
    """z, and a class where there are some, to w.

    Args:
        z_dim: Width of z; 0: the class alone is mapped, as in a discriminator.
        classes: Number of classes; 0: unconditional.
        w_dim: Width of w.
        layers: Layers between them.
    """

    w_avg: Tensor

    def __init__(self, z_dim: int, classes: int, w_dim: int, layers: int) -> None:
        super().__init__()
        self.z_dim, self.classes, self.layers = z_dim, classes, layers
        if classes:
            self.embed = EqualLinear(classes, w_dim)
        widths = [z_dim + w_dim * bool(classes)] + [w_dim] * layers
        for index in range(layers):
            layer = EqualLinear(widths[index], widths[index + 1], rate=RATE, active=True)
            self.add_module(f"fc{index}", layer)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor | None, c: Tensor | None = None) -> Tensor:
        """Map z (n, z_dim), None if z_dim is 0, and c (n, classes) if there are classes, to w (n, w_dim)."""
        parts = [] if z is None else [normalise(z)]
        if self.classes:
            assert c is not None, "a conditional mapping needs a class"
            parts.append(normalise(self.embed(c)))
        x = torch.cat(parts, dim=1)
        for index in range(self.layers):
            x = self.get_submodule(f"fc{index}")(x)
        return x


def truncate(ws: Tensor, centre: Tensor, psi: float | Sequence[float], cutoff: int | None = None) -> Tensor:
    """Pull styles toward their mean: centre + ψ (w − centre); arXiv:1812.04948, section B.

    Args:
        ws: (n, layers, w_dim).
        centre: (w_dim,) or (n, 1, w_dim).
        psi: ψ, one for all or one each; 1 changes nothing, 0 leaves the mean alone.
        cutoff: How many layers, from the coarsest on; None: all.
    """
    share = torch.tensor(psi, dtype=ws.dtype, device=ws.device).view(-1, 1, 1)
    if bool((share == 1).all()):
        return ws
    pulled = torch.lerp(centre.expand_as(ws), ws, share)
    return pulled if cutoff is None else torch.cat([pulled[:, :cutoff], ws[:, cutoff:]], dim=1)
