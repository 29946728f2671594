"""A trained autoencoder, which a denoiser's training reads and does not change."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from zoo_core import Checkpoint, OptionError, WeightsError
from zoo_latent.checkpoint import build_autoencoder
from zoo_latent.networks.autoencoder_kl import AutoencoderKL
from zoo_latent.reconstruction import autoencoder_part, is_autoencoder


class FrozenAutoencoder:
    """An autoencoder that encodes the images of a data set.

    Args:
        network: It, frozen.
        digest: Changes when its weights or its config do.
    """

    def __init__(self, network: AutoencoderKL, digest: str) -> None:
        self.network, self.config, self.digest = network, network.config, digest

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the latents of an image; OptionError if it has none."""
        factor = self.config.factor
        if height % factor or width % factor:
            raise OptionError(
                f"The autoencoder cannot halve images of {height}×{width} so often: it divides by {factor}.",
                f"Add --size {max(min(height, width) // factor, 1) * factor}.",
            )
        return height // factor, width // factor

    @torch.no_grad()
    def moments(self, images: Tensor) -> Tensor:
        """Map images (n, 3, H, W) in [-1, 1] to means and deviations, scaled: (n, 2, c, h, w)."""
        self.network.to(images.device)
        mean, log_variance = self.network.moments(images)
        scale, shift = self.config.scaling_factor, self.config.shift_factor or 0.0
        return torch.stack([(mean - shift) * scale, torch.exp(0.5 * log_variance) * scale], dim=1)


def read_autoencoder(folder: str) -> FrozenAutoencoder:
    """Read the autoencoder that ``--autoencoder`` names.

    Args:
        folder: What ``zoo train autoencoder`` wrote, or the ``vae`` of a pipeline in diffusers' layout.

    Raises:
        OptionError: It is not a folder of an AutoencoderKL.
        WeightsError: Its files are damaged.
    """
    checkpoint = _open(folder)
    network = build_autoencoder(autoencoder_part(checkpoint), torch.float32, torch.device("cpu"))
    if not isinstance(network, AutoencoderKL):
        raise OptionError(
            f"--autoencoder {folder} is not an AutoencoderKL.", "Make one: zoo train autoencoder --help"
        )
    digest = hashlib.sha256()
    for name in sorted(checkpoint.files):
        digest.update(name.encode() + checkpoint.files[name].read_bytes())
    return FrozenAutoencoder(network, digest.hexdigest())


def drawn(moments: Tensor, random: torch.Generator) -> Tensor:
    """Draw latents (n, c, h, w) from their means and deviations (n, 2, c, h, w)."""
    mean, deviation = moments.unbind(1)
    return mean + deviation * torch.randn(mean.shape, generator=random, device=mean.device)


def _open(folder: str) -> Checkpoint:
    path = Path(folder).expanduser()
    remedy = "Give the folder of an autoencoder, as this makes one: zoo train autoencoder --help"
    if not path.is_dir():
        raise OptionError(f"--autoencoder {folder} is not a folder.", remedy)
    files = {file.name: file for file in sorted(path.iterdir()) if file.is_file()}
    checkpoint = Checkpoint(str(path), files, "")
    try:
        known = is_autoencoder(checkpoint)
    except WeightsError:
        known = False
    if not known:
        raise OptionError(f"--autoencoder {folder} holds no autoencoder.", remedy)
    return checkpoint
