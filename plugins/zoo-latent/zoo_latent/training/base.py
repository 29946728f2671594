"""A text-to-image model that a LoRA is trained for: frozen, read by any name that ``zoo run`` takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from zoo_ddpm.sampling import Schedule

from zoo_core import HubWeights, OptionError, get_checkpoint, resolve
from zoo_latent.checkpoint import build_autoencoder
from zoo_latent.generator import denoiser_class, read_parts, schedule_of
from zoo_latent.networks.autoencoder_kl import AutoencoderKL
from zoo_latent.reconstruction import is_autoencoder
from zoo_latent.text_to_image import TextToImage
from zoo_latent.training.frozen import FrozenAutoencoder

PLUGIN = "zoo-latent"
TEXTS_AT_ONCE = 16
REMEDY = "Give a text-to-image model: Stable Diffusion 1, 2 or 3, SDXL, or one of zoo train dit."


@dataclass(frozen=True)
class Conditions:
    """What the network is given of n prompts, beside noisy latents and times."""

    words: Tensor
    """(n, words, width)."""
    added: dict[str, Tensor]
    """Further arguments by name, each (n, …)."""

    def rows(self, index: Tensor, device: torch.device) -> Conditions:
        """Return those of some prompts (m,), on a device."""
        index = index.to(self.words.device)
        added = {name: values[index].to(device) for name, values in self.added.items()}
        return Conditions(self.words[index].to(device), added)


@dataclass(frozen=True)
class Base:
    """The frozen model."""

    name: str
    """The name that it was given by; of the Hub with the commit."""
    digest: str
    denoiser: TextToImage
    autoencoder: FrozenAutoencoder
    schedule: Schedule
    """What it was trained with."""

    @property
    def network(self) -> nn.Module:
        """The U-Net or the transformer."""
        network: nn.Module = self.denoiser.network
        return network

    def check_size(self, height: int, width: int) -> None:
        """Raise OptionError if the model makes no images of this size."""
        step, largest = self.denoiser.grid(self.autoencoder.config.factor)
        if height % step or width % step or max(height, width) > largest:
            side = max(min(height, width, largest) // step, 1) * step
            raise OptionError(
                f"The images are {height}×{width}; the sides of the base's are multiples of {step}, up to "
                f"{largest:,}.",
                f"Add --size {side}.",
            )

    @torch.no_grad()
    def conditions(self, captions: Sequence[str], size: tuple[int, int]) -> Conditions:
        """Embed captions, each in one window, cut if it is longer.

        Args:
            captions: The captions; "" is what guidance takes for no prompt.
            size: Height and width of the images.
        """
        parts = []
        for start in range(0, len(captions), TEXTS_AT_ONCE):
            texts = [text or None for text in captions[start : start + TEXTS_AT_ONCE]]
            embedding = self.denoiser.negative(texts, 1)
            added: dict[str, Any] = self.denoiser.added(embedding, size, 1.0)
            parts.append(Conditions(embedding.words, added))
        names = parts[0].added
        added = {name: torch.cat([part.added[name] for part in parts]) for name in names}
        return Conditions(torch.cat([part.words for part in parts]), added)


def read_base(name: str | None) -> Base:
    """Read the model that ``--base`` names, in float32 on the CPU.

    Raises:
        OptionError: None is given, or it is a model that no LoRA is trained for here.
        ZooError: There is no such model, or its files are damaged.
    """
    if name is None:
        raise OptionError("A LoRA changes a model, and none is given.", f"Add --base MODEL. {REMEDY}")
    card = resolve(name)
    if card.plugin != PLUGIN:
        raise OptionError(f"--base {name} is a model of {card.plugin}, no latent diffusion model.", REMEDY)
    checkpoint = get_checkpoint(card)
    if is_autoencoder(checkpoint):
        raise OptionError(f"--base {name} is an autoencoder alone.", REMEDY)
    parts = read_parts(checkpoint)
    kind = denoiser_class(parts)
    if not issubclass(kind, TextToImage):
        raise OptionError(f"--base {name} is a {parts.index['_class_name']}, which takes no prompts.", REMEDY)
    cpu, schedule = torch.device("cpu"), schedule_of(parts)
    autoencoder = build_autoencoder(parts.autoencoder, torch.float32, cpu)
    if not isinstance(autoencoder, AutoencoderKL):
        raise OptionError(
            f"The autoencoder of --base {name} is of class {type(autoencoder).__name__}; training needs an "
            "AutoencoderKL.",
            REMEDY,
        )
    denoiser = kind(parts, cpu, torch.float32, packed=False)
    if denoiser.in_channels != denoiser.channels:
        raise OptionError(f"--base {name} is an inpainting model.", REMEDY)
    if denoiser.knows_guidance or schedule.is_distilled:
        raise OptionError(f"--base {name} is a distilled model: it goes to the image in few steps.", REMEDY)
    if schedule.preconditioning not in (None, "flow"):
        raise OptionError(
            f"--base {name} has a network with preconditioning ({schedule.preconditioning}).", REMEDY
        )
    is_of_hub = isinstance(card.weights, HubWeights)
    return Base(
        checkpoint.source if is_of_hub else name,
        checkpoint.digest,
        denoiser,
        FrozenAutoencoder(autoencoder, checkpoint.digest),
        schedule,
    )
