"""What the generator needs of a denoiser, whatever it is conditioned on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from zoo_ddpm.sampling import Network

from zoo_core import Batch, Options


@dataclass(frozen=True)
class SecondPass:
    """Sampling goes on from an enlarged result."""

    size: tuple[int, int]
    """Height and width of its latents."""
    strength: float
    """Share of the steps that it takes."""


class Denoiser(Protocol):
    """A network with what it is conditioned on."""

    in_channels: int
    """Channels of the network's input."""
    channels: int
    """Channels of the latents."""

    def latent_size(self, options: Options, factor: int, given: tuple[int, int] | None) -> tuple[int, int]:
        """Return the height and width of the latents.

        Args:
            options: The batch's.
            factor: Height and width of an image over those of its latents.
            given: Height and width of an input image, if there is one.

        Raises:
            OptionError: The model cannot make images of the requested size.
        """
        ...

    def second_pass(self, options: Options, factor: int, first: tuple[int, int]) -> SecondPass | None:
        """Return what follows the first pass, if the options ask for two.

        Args:
            options: The batch's.
            factor: As of ``latent_size``.
            first: Height and width of the latents of the first pass.

        Raises:
            OptionError: The model cannot make images of that size.
        """
        return None

    def bind(self, batch: Batch, image_size: tuple[int, int], beside: Tensor | None) -> Network:
        """Return the network with the conditions of a batch bound.

        Args:
            batch: The batch.
            image_size: Height and width of the images.
            beside: Further input channels (n, in_channels − channels, h, w), of an inpainting model.

        Raises:
            OptionError: A condition does not fit this model.
        """
        ...

    def metadata(self, n: int) -> tuple[Mapping[str, Any], ...] | None:
        """Return what to record with each sample of the batch of n that was bound last; None for nothing."""
        return None
