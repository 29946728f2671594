"""The generator network of DCGAN (Radford et al. 2016, arXiv:1511.06434, section 3 and figure 1).

Tensors have the names of chien-liu/DCGAN-PyTorch, which numbers the layers of one sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from zoo_core import Between

START = 4
"""Side of the image after the first layer; every further layer doubles it."""

Size = Annotated[int, Between(1, 2**16)]


@dataclass(frozen=True)
class Shape:
    """The architecture of a network, as in config.json."""

    latent: Size
    """Dimensions of the noise."""
    widths: tuple[Size, ...]
    """Channels after each layer but the last."""
    channels: Size
    """Channels of the image: 1 or 3."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.widths) <= 8:
            raise ValueError(f"widths has {len(self.widths)} entries; expected 1 to 8.")


class Network(nn.Module):
    """A generator: noise (n, latent) to images (n, channels, side, side) in [-1, 1]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = shape.latent
        for number, width in enumerate(shape.widths):
            stride, padding = (2, 1) if number else (1, 0)
            layers.append(nn.ConvTranspose2d(before, width, START, stride, padding, bias=False))
            layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            before = width
        layers += [nn.ConvTranspose2d(before, shape.channels, START, 2, 1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Generate images from z (n, latent)."""
        images: Tensor = self.main(z[:, :, None, None])
        return images
