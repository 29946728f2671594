"""What the trainers of denoisers share: they learn from the latents of a frozen autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo_core import OptionError, TrainingData, save_checkpoint
from zoo_latent.training.autoencoder import write_autoencoder
from zoo_latent.training.frozen import FrozenAutoencoder, drawn, read_autoencoder
from zoo_latent.training.objective import OBJECTIVES, Network

HEAD_CHANNELS = 64
"""Channels of an attention head."""
WEIGHTS = "diffusion_pytorch_model"


class LatentDenoiser:
    """A transformer that learns from latents.

    Args:
        network: With its embeddings of a condition.
        autoencoder: What encodes the images.
        objective: One of ``OBJECTIVES``.
        weights: The type of the saved weights.
    """

    betas = (0.9, 0.99)
    """Adam's: the squared gradients of a rectified flow's loss change faster than the usual 0.999 follows."""

    def __init__(
        self, network: nn.Module, autoencoder: FrozenAutoencoder, objective: str, weights: str
    ) -> None:
        self.networks: Mapping[str, nn.Module] = {"transformer": network}
        self.autoencoder, self.objective = autoencoder, OBJECTIVES[objective]
        self.encoder_digest = autoencoder.digest
        self.dtype: torch.dtype = getattr(torch, weights)

    def encode_images(self, images: Tensor) -> Tensor:
        """Map images (n, 3, H, W) in [-1, 1] to means and deviations of their latents: (n, 2, c, h, w)."""
        return self.autoencoder.moments(images)

    def loss(self, network: Network, moments: Tensor, random: torch.Generator) -> Tensor:
        """Return the objective's loss for latents drawn from their moments (n, 2, c, h, w)."""
        return self.objective.loss(network, drawn(moments, random), random)

    def write(self, folder: Path, network: nn.Module, config: object, class_name: str) -> None:
        """Write the autoencoder and the transformer into their folders of a pipeline."""
        write_autoencoder(folder / "vae", self.autoencoder.network, self.autoencoder.config, self.dtype)
        save_checkpoint(
            folder / "transformer", config, network, self.dtype, weights=WEIGHTS, _class_name=class_name
        )


def initialize(network: nn.Module) -> None:
    """Initialise all linear layers as Peebles & Xie 2023 (arXiv:2212.09748), section 3.2."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def latents_of(given: str | None, data: TrainingData, patch: int) -> tuple[FrozenAutoencoder, int]:
    """Read the autoencoder of ``--autoencoder``; return it with the side of the latents of the data's images.

    Raises:
        OptionError: It is none, or its latents are not a square that the patches divide.
    """
    if given is None:
        raise OptionError(
            "A transformer learns on the latents of an autoencoder, and none is given.",
            "Add --autoencoder FOLDER, such as zoo train autoencoder makes.",
        )
    autoencoder = read_autoencoder(given)
    height, width = autoencoder.latent_size(*data.shape[1:])
    if height != width or height % patch:
        raise OptionError(
            f"The latents are {height}×{width}; a transformer needs a square that --patch {patch} divides.",
            "Add --size, or give another --patch.",
        )
    return autoencoder, height


def heads(width: int, flag: str) -> int:
    """Return the number of attention heads of a width; OptionError if it has no whole number of them."""
    if width % HEAD_CHANNELS:
        raise OptionError(
            f"{flag} {width} is not a multiple of {HEAD_CHANNELS}, the channels of an attention head.",
            f"Give {flag} {max(round(width / HEAD_CHANNELS), 1) * HEAD_CHANNELS}.",
        )
    return width // HEAD_CHANNELS
