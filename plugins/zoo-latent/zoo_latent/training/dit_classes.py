"""Training a transformer on latents, conditioned on classes: DiT (Peebles & Xie 2023, arXiv:2212.09748).

A part of the labels is replaced by the null class, for guidance (Ho & Salimans 2022, arXiv:2207.12598).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo_core import Loss, OptionError, Options, TrainingData, read_options
from zoo_latent.networks.dit import AdaLayerNormZero, DiT, DiTConfig
from zoo_latent.training.frozen import FrozenAutoencoder
from zoo_latent.training.latent import HEAD_CHANNELS, LatentDenoiser, heads, initialize, latents_of
from zoo_latent.training.pipeline import write_index


@dataclass(frozen=True)
class TrainingOptions:
    """Options of ``zoo train dit-classes``, as zoo.toml declares them."""

    autoencoder: str | None
    objective: str
    width: int
    layers: int
    patch: int
    label_dropout: float
    weights: str


class LabelledDenoiser(LatentDenoiser):
    """A transformer that learns from latents and labels.

    Args:
        config: The transformer's.
        names: The classes' names.
        autoencoder: What encodes the images.
        options: How it is trained and saved.
    """

    def __init__(
        self,
        config: DiTConfig,
        names: tuple[str, ...],
        autoencoder: FrozenAutoencoder,
        options: TrainingOptions,
    ) -> None:
        network = DiT(config)
        initialize(network)
        modulations = [each.linear for each in network.modules() if isinstance(each, AdaLayerNormZero)]
        for linear in (*modulations, network.proj_out_2):
            nn.init.zeros_(linear.weight)
        super().__init__(network, autoencoder, options.objective, options.weights)
        self.names, self.dropout = names, options.label_dropout

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the one loss of a step.

        ``batch`` has ``latents`` (n, 2, c, h, w) of ``encode_images`` and ``labels`` (n,) int64.
        """
        labels = batch["labels"]
        dropped = torch.rand(len(labels), generator=random, device=labels.device) < self.dropout
        network = partial(networks["transformer"], labels=labels.masked_fill(dropped, len(self.names)))
        yield Loss("transformer", self.loss(network, batch["latents"], random))

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write a pipeline into ``folder``, in diffusers' layout; model_index.json goes last."""
        network = networks["transformer"]
        assert isinstance(network, DiT)
        self.write(folder, network, network.config, "DiTTransformer2DModel")
        parts = {"transformer": ("diffusers", "DiTTransformer2DModel")}
        names = {str(label): name for label, name in enumerate(self.names)}
        write_index(folder, "DiTPipeline", self.objective.schedule, parts, id2label=names)


def create_dit_classes(options: Options, data: TrainingData) -> LabelledDenoiser:
    """Build an untrained transformer for the latents and the classes of images like ``data``.

    Raises:
        OptionError: The options do not fit each other or the images.
    """
    given = read_options(TrainingOptions, options)
    if not data.classes:
        raise OptionError(
            "The images have no classes.",
            "Put them into sub-folders, one for each class, or train on captions: zoo train dit --help",
        )
    number_of_heads = heads(given.width, "--width")
    autoencoder, side = latents_of(given.autoencoder, data, given.patch)
    config = DiTConfig(
        num_attention_heads=number_of_heads,
        attention_head_dim=HEAD_CHANNELS,
        in_channels=autoencoder.config.channels,
        out_channels=autoencoder.config.channels,
        num_layers=given.layers,
        sample_size=side,
        patch_size=given.patch,
        num_embeds_ada_norm=len(data.classes),
    )
    return LabelledDenoiser(config, data.classes, autoencoder, given)
