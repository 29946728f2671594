"""Condition a diffusion transformer on classes: DiT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from zoo_ddpm.sampling import Network

from zoo_core import (
    Batch,
    Classes,
    Options,
    classifier_free_guidance,
    draw_labels,
    load_network,
    read_options,
)
from zoo_latent.checkpoint import Parts, require_class
from zoo_latent.denoiser import Denoiser
from zoo_latent.networks.dit import DiT, DiTConfig

DEFAULT_GUIDANCE = 4.0


@dataclass(frozen=True)
class ClassOptions:
    """Options that say what class an image is of; zoo.toml describes them."""

    label: tuple[int | None, ...]
    guidance_scale: float | None


class ClassToImage(Denoiser):
    """A diffusion transformer.

    Raises:
        WeightsError: The network is not supported, or its tensors do not fit.
    """

    def __init__(self, parts: Parts, device: torch.device, dtype: torch.dtype) -> None:
        part = parts.denoiser
        require_class(part, "DiTTransformer2DModel", "Transformer2DModel")
        config = DiTConfig.from_json(part.config, part.source)
        self.network = load_network(lambda: DiT(config), part.tensors(), part.source, dtype, device)
        self.config, self.device, self.dtype = config, device, dtype
        self.in_channels = self.channels = config.in_channels
        names = parts.index.get("id2label") or {}
        count = config.num_embeds_ada_norm
        texts = [names.get(str(label)) for label in range(count)] if isinstance(names, dict) else []
        known = bool(texts) and all(isinstance(text, str) for text in texts)
        self.classes = Classes(count, tuple(map(str, texts)) if known else (), count)
        self._labels: list[int] = []

    def latent_size(self, options: Options, factor: int, given: tuple[int, int] | None) -> tuple[int, int]:
        """Return the one size that the network knows."""
        return self.config.sample_size, self.config.sample_size

    def bind(self, batch: Batch, image_size: tuple[int, int], beside: Tensor | None) -> Network:
        """Return the network with labels, given or drawn, and guidance bound."""
        options = read_options(ClassOptions, batch.options)
        self._labels = draw_labels(options.label, self.classes.count, batch.noise)
        scale = DEFAULT_GUIDANCE if options.guidance_scale is None else options.guidance_scale
        labels = torch.tensor(self._labels, device=self.device)
        both = torch.cat([labels, torch.full_like(labels, self.classes.count)])

        def network(x: Tensor, t: float) -> Tensor:
            x = x.to(self.dtype)
            # The learned variance is not used: neither samplers nor diffusers' pipeline take it.
            if scale == 1:
                only: Tensor = self.network(x, t, labels)[:, : self.channels].float()
                return only
            out = self.network(torch.cat([x, x]), t, both)[:, : self.channels].float()
            conditional, unconditional = out.chunk(2)
            return classifier_free_guidance(conditional, unconditional, scale)

        return network

    def metadata(self, n: int) -> tuple[Mapping[str, Any], ...] | None:
        """Return each sample's class."""
        return tuple(map(self.classes.describe, self._labels))
