"""Condition a U-Net on prompts: Stable Diffusion, SDXL and latent consistency models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from zoo_ddpm.prediction import Network

from zoo_core import Batch, WeightsError, classifier_free_guidance, read_options
from zoo_latent.checkpoint import Parts, build_encoder, build_unet
from zoo_latent.text.encoder import Embedding, TextEncoder

DEFAULT_GUIDANCE, DEFAULT_GUIDANCE_XL = 7.5, 5.0
DEFAULT_GUIDANCE_LCM = 8.5


@dataclass(frozen=True)
class PromptOptions:
    """Options that say how a prompt is followed; zoo.toml describes them."""

    negative_prompt: tuple[str | None, ...]
    guidance_scale: float | None
    guidance_rescale: float


@dataclass(frozen=True)
class Group:
    """Samples of a batch whose prompts have as many windows: the network runs once for all of them."""

    rows: Tensor
    """Their indices in the batch."""
    context: Tensor
    """(m or 2 m, words, width): with guidance, of the negative prompts first."""
    added: dict[str, Any]
    """Further arguments of the network."""


class TextToImage:
    """A U-Net and its text encoders.

    Raises:
        WeightsError: A part is not supported, or its tensors do not fit.
    """

    def __init__(self, parts: Parts, device: torch.device, dtype: torch.dtype) -> None:
        self.dtype, self.device = dtype, device
        self.zeros_for_no_negative = bool(parts.index.get("force_zeros_for_empty_prompt", False))
        if parts.index.get("requires_aesthetics_score"):
            raise WeightsError(
                f"{parts.source} is SDXL's refiner, which zoo-latent does not run.",
                "Use the base model, stabilityai/stable-diffusion-xl-base-1.0.",
            )
        if not parts.encoders:
            raise WeightsError(
                f"{parts.source} has no text encoder.", "Get a complete copy of the checkpoint."
            )
        encoders = []
        for part, read_tokenizer in parts.encoders:
            encoder = build_encoder(part, dtype, device)
            encoders.append((encoder, read_tokenizer(encoder.config.vocab_size)))
        self.encoder = TextEncoder(encoders, device)
        self.unet = build_unet(parts.denoiser, dtype, device)
        width, expected = sum(e.config.hidden_size for e, _ in encoders), self.unet.config.cross_attention_dim
        if any(each != width for each in self.unet.config.by_level(expected)):
            raise WeightsError(
                f"{parts.source}: the text encoders give {width} numbers a word; the U-Net takes {expected}.",
                "Get a complete copy of the checkpoint.",
            )
        if self.unet.config.addition_embed_type and not self.encoder.is_double:
            raise WeightsError(
                f"{parts.source}: the U-Net needs pooled prompts, which the text encoder does not give.",
                "Get a complete copy of the checkpoint.",
            )

    @property
    def default_guidance(self) -> float:
        """The guidance scale where none is given: that of diffusers' pipelines."""
        if self.unet.config.time_cond_proj_dim:
            return DEFAULT_GUIDANCE_LCM
        return DEFAULT_GUIDANCE_XL if self.unet.config.addition_embed_type else DEFAULT_GUIDANCE

    def bind(self, batch: Batch, size: tuple[int, int]) -> Network:
        """Return the network with the batch's prompts and guidance bound; ``size`` is the images' (h, w).

        Raises:
            OptionError: A prompt is too long.
        """
        options = read_options(PromptOptions, batch.options)
        scale = self.default_guidance if options.guidance_scale is None else options.guidance_scale
        # A model that was given the guidance scale in training has learned what guidance does.
        guided = scale > 1 and not self.unet.config.time_cond_proj_dim
        positives = [prompt or "" for prompt in batch.prompts]
        negatives = options.negative_prompt if guided else (None,) * batch.n
        counts = [
            max(self.encoder.count(one), self.encoder.count(other or ""))
            for one, other in zip(positives, negatives, strict=True)
        ]
        groups = []
        for count in sorted(set(counts)):
            rows = [i for i in range(batch.n) if counts[i] == count]
            embedding = self.encoder.encode([positives[i] for i in rows], count)
            if guided:
                embedding = self._with_negatives(embedding, [negatives[i] for i in rows], count)
            index = torch.tensor(rows, device=self.device)
            groups.append(Group(index, embedding.words, self._added(embedding, size, scale)))

        def network(x: Tensor, t: float) -> Tensor:
            out = torch.empty(len(x), self.unet.config.out_channels, *x.shape[2:], device=x.device)
            for group in groups:
                rows = x[group.rows].to(self.dtype)
                rows = torch.cat([rows, rows]) if guided else rows
                predicted = self.unet(rows, t, group.context, **group.added).float()
                if guided:
                    unconditional, conditional = predicted.chunk(2)
                    predicted = classifier_free_guidance(conditional, unconditional, scale)
                    predicted = rescaled(predicted, conditional, options.guidance_rescale)
                out[group.rows] = predicted
            return out

        return network

    def _added(self, embedding: Embedding, size: tuple[int, int], scale: float) -> dict[str, Any]:
        """Return what the U-Net takes beside the words: sizes and pooled prompts, or the guidance scale."""
        added: dict[str, Any] = {}
        n, config = len(embedding.words), self.unet.config
        if config.addition_embed_type:
            sizes = torch.tensor([[*size, 0, 0, *size]], dtype=torch.float32, device=self.device)
            added |= {"pooled": embedding.pooled, "sizes": sizes.expand(n, -1)}
        if width := config.time_cond_proj_dim:
            added["guidance"] = guidance_embedding(torch.full((n,), scale - 1, device=self.device), width)
        return added

    def _with_negatives(self, positive: Embedding, negatives: Sequence[str | None], count: int) -> Embedding:
        """Return the embeddings of the negative prompts, followed by those of the prompts."""
        negative = self.encoder.encode([text or "" for text in negatives], count)
        if self.zeros_for_no_negative:
            keep = torch.tensor([text is not None for text in negatives], device=self.device)
            zeros = negative.zeros()
            pooled = negative.pooled
            if pooled is not None and zeros.pooled is not None:
                pooled = torch.where(keep[:, None], pooled, zeros.pooled)
            negative = Embedding(torch.where(keep[:, None, None], negative.words, zeros.words), pooled)
        words = torch.cat([negative.words, positive.words])
        if positive.pooled is None or negative.pooled is None:
            return Embedding(words, None)
        return Embedding(words, torch.cat([negative.pooled, positive.pooled]))


def rescaled(guided: Tensor, conditional: Tensor, share: float) -> Tensor:
    """Pull the standard deviation of a guided prediction towards the conditional one's, both (n, c, h, w).

    Lin et al. 2023, "Common diffusion noise schedules and sample steps are flawed" (arXiv:2305.08891),
    section 3.4; ``share`` 0 changes nothing.
    """
    if share == 0:
        return guided
    ratio = conditional.std(dim=(1, 2, 3), keepdim=True) / guided.std(dim=(1, 2, 3), keepdim=True)
    return guided * (share * ratio + (1 - share))


def guidance_embedding(scales: Tensor, width: int) -> Tensor:
    """Embed guidance scales (n,), less 1, as sinusoids: (n, width) (Luo et al. 2023, arXiv:2310.04378)."""
    half = width // 2
    i = torch.arange(half, dtype=torch.float32, device=scales.device)
    angles = 1000.0 * scales[:, None] * torch.exp(-math.log(10000.0) * i / (half - 1))
    return torch.nn.functional.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, width % 2))
