"""Training a LoRA for a given text-to-image model (Hu et al. 2021, arXiv:2106.09685).

As diffusers' train_text_to_image_lora.py: the model is frozen, its loss is the one it was trained by, and
low-rank matrices are added to the projections of attention. Some of the captions are replaced by what
guidance takes for no prompt (Ho & Salimans 2022, arXiv:2207.12598). The file is one that diffusers'
``load_lora_weights`` reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo_core import Loss, OptionError, Options, TrainingData, read_options, save_weights
from zoo_latent.lora import METADATA, STEMS
from zoo_latent.training.base import Base, read_base
from zoo_latent.training.frozen import drawn
from zoo_latent.training.low_rank import LowRank, adapted_layers
from zoo_latent.training.objective import objective_of

EMPTY = 0
"""Place of the empty caption among the captions."""


@dataclass(frozen=True)
class TrainingOptions:
    """Options of ``zoo train lora``, as zoo.toml declares them."""

    base: str | None
    rank: int
    alpha: float | None
    targets: str
    caption_dropout: float
    weights: str


class LoraTrainable:
    """Low-rank matrices that learn, beside a frozen model.

    Args:
        base: The model.
        low_rank: The matrices of its network.
        captions: All different captions, the empty one first.
        size: Height and width of the images.
        options: How they are trained and saved.
    """

    def __init__(
        self,
        base: Base,
        low_rank: LowRank,
        captions: tuple[str, ...],
        size: tuple[int, int],
        options: TrainingOptions,
    ) -> None:
        self.networks: Mapping[str, nn.Module] = {"lora": low_rank}
        self.network, self.name = base.network, base.denoiser.NAME
        self.autoencoder, self.objective = base.autoencoder, objective_of(base.schedule)
        self.encoder_digest = base.autoencoder.digest
        self.base_name, self.options = base.name, options
        self.places = {caption: place for place, caption in enumerate(captions)}
        self.conditions = base.conditions(captions, size)

    def encode_images(self, images: Tensor) -> Tensor:
        """Map images (n, 3, H, W) in [-1, 1] to means and deviations of their latents: (n, 2, c, h, w)."""
        return self.autoencoder.moments(images)

    def encode_caption(self, caption: str) -> list[int]:
        """Return the place of a caption among those that were embedded."""
        return [self.places[caption]]

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the one loss of a step.

        ``batch`` has ``latents`` (n, 2, c, h, w) of ``encode_images`` and ``captions`` (n, 1) int64.
        """
        places = batch["captions"][:, 0]
        dropped = (
            torch.rand(len(places), generator=random, device=places.device) < self.options.caption_dropout
        )
        given = self.conditions.rows(places.masked_fill(dropped, EMPTY), places.device)
        adapted = partial(networks["lora"], self.network.to(places.device))

        def network(x: Tensor, t: Tensor) -> Tensor:
            predicted: Tensor = adapted(x, t, given.words, **given.added)
            return predicted.float()

        yield Loss("lora", self.objective.loss(network, drawn(batch["latents"], random), random))

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the matrices into ``folder`` as diffusers does, with peft's settings and the base's name."""
        low_rank = networks["lora"]
        assert isinstance(low_rank, LowRank)
        dtype: torch.dtype = getattr(torch, self.options.weights)
        tensors = {f"{self.name}.{name}": tensor.to(dtype) for name, tensor in low_rank.tensors().items()}
        settings = {
            "r": low_rank.rank,
            "lora_alpha": low_rank.alpha,
            "target_modules": sorted(low_rank.names),
            "base_model_name_or_path": self.base_name,
        }
        metadata = {
            "format": "pt",
            METADATA: json.dumps({f"{self.name}.{key}": value for key, value in settings.items()}),
            "base_digest": low_rank.base_digest,
        }
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(folder / f"{STEMS[0]}.safetensors", tensors, metadata)


def create_lora(options: Options, data: TrainingData) -> LoraTrainable:
    """Build the matrices of a LoRA, as yet without effect, for a model and images like ``data``.

    Raises:
        OptionError: The options do not fit each other, the model or the images.
        ZooError: The model cannot be read.
    """
    given = read_options(TrainingOptions, options)
    if not any(text.strip() for text in data.texts):
        raise OptionError("All captions are empty.", "Give each image a text in metadata.jsonl.")
    base, size = read_base(given.base), (data.shape[1], data.shape[2])
    base.check_size(*size)
    targets = [target.strip() for target in given.targets.split(",")]
    alpha = float(given.rank) if given.alpha is None else given.alpha
    low_rank = LowRank(adapted_layers(base.network, targets), given.rank, alpha, base.digest)
    captions = tuple(dict.fromkeys(("", *data.texts)))
    return LoraTrainable(base, low_rank, captions, size, given)
