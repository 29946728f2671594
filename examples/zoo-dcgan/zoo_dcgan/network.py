"""The generator network of DCGAN (Radford et al. 2016, section 3 and figure 1).

Its tensors have the names they have in chien-liu/DCGAN-PyTorch, which numbers the layers of one sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from zoo_core import WeightsError

START = 4
"""Side of the image after the first layer; every further one doubles it."""


@dataclass(frozen=True)
class Shape:
    """What tells two of these networks apart."""

    latent: int
    """Numbers of noise per image."""
    widths: tuple[int, ...]
    """Channels after each layer but the last."""
    channels: int
    """Of the image: 1 or 3."""

    @classmethod
    def read(cls, config: Mapping[str, Any], source: str) -> Shape:
        """Read it from a config.json.

        Raises:
            WeightsError: A number is missing or none.
        """
        numbers = [config.get("latent"), config.get("channels"), *(config.get("widths") or [None])]
        if not all(type(number) is int and number > 0 for number in numbers):
            raise WeightsError(
                f"config.json of {source} has no latent, widths and channels.",
                "Make the checkpoint anew: zoo convert weights.tar -o FOLDER",
            )
        return cls(config["latent"], tuple(config["widths"]), config["channels"])


class Network(nn.Module):
    """Noise (n, latent) to images (n, channels, side, side) in [-1, 1]."""

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
        """Draw."""
        images: Tensor = self.main(z[:, :, None, None])
        return images
