"""Condition a U-Net on prompts: Stable Diffusion, SDXL and latent consistency models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from zoo_ddpm.sampling import Network, rescaled

from zoo_core import Batch, OptionError, Options, WeightsError, classifier_free_guidance, read_options
from zoo_latent.checkpoint import Parts, build_encoder, build_unet
from zoo_latent.denoiser import Denoiser, SecondPass
from zoo_latent.inference import pack_convolutions
from zoo_latent.lora import Adapter
from zoo_latent.text.clip import ClipText
from zoo_latent.text.encoder import Embedding, TextEncoder
from zoo_latent.text.inversion import NewWord
from zoo_latent.text.tokenizer import ClipTokenizer

DEFAULT_GUIDANCE, DEFAULT_GUIDANCE_XL = 7.5, 5.0
DEFAULT_GUIDANCE_LCM = 8.5
DEFAULT_HIRES_STRENGTH = 0.7
USUAL_SIDE = 64
"""Height and width of the latents where the config names none."""
MAX_PIXELS = 2**24
"""Most pixels of an image."""


@dataclass(frozen=True)
class PromptOptions:
    """Options that say how a prompt is followed; zoo.toml describes them."""

    negative_prompt: tuple[str | None, ...]
    guidance_scale: float | None
    guidance_rescale: float


@dataclass(frozen=True)
class AdapterOptions:
    """Files that are added to the model; zoo.toml describes them."""

    lora: str | None
    lora_scale: float
    embedding: str | None


@dataclass(frozen=True)
class SizeOptions:
    """The size of the images in pixels."""

    width: int | None
    height: int | None


@dataclass(frozen=True)
class HiresOptions:
    """A second pass; zoo.toml describes it."""

    hires: float | None
    hires_strength: float | None


@dataclass(frozen=True)
class Group:
    """Samples of a batch whose prompts have as many windows: the network runs once for all of them."""

    rows: Tensor
    """Their indices in the batch."""
    context: Tensor
    """(m or 2 m, words, width): with guidance, of the negative prompts first."""
    added: dict[str, Any]
    """Further arguments of the network."""


class TextToImage(Denoiser):
    """A U-Net and its text encoders.

    Args:
        parts: The networks, not yet built.
        device: Where to compute.
        dtype: The type to compute in.
        packed: Pack the network's convolutions for sampling; packed ones have no gradients.

    Raises:
        WeightsError: A part is not supported, or its tensors do not fit.
    """

    NAME = "unet"
    """The network's name in an adapter."""

    def __init__(self, parts: Parts, device: torch.device, dtype: torch.dtype, packed: bool = True) -> None:
        self.parts, self.dtype, self.device, self.packed = parts, dtype, device, packed
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
        self.adapters = AdapterOptions(None, 1.0, None)
        self._load(self.adapters)

    def _load(self, adapters: AdapterOptions) -> None:
        """Build the networks with these adapters added; where that fails, the old ones stay."""
        parts, dtype, device = self.parts, self.dtype, self.device
        encoders = []
        for part, read_tokenizer in parts.encoders:
            encoder = build_encoder(part, dtype, device)
            encoders.append((encoder, read_tokenizer(encoder.config.vocab_size)))
        network = self._build(dtype, device)
        if adapters.lora is not None:
            networks: dict[str, nn.Module] = {self.NAME: network}
            for suffix, (encoder, _) in zip(("", "_2"), encoders, strict=False):
                networks[f"text_encoder{suffix}"] = encoder
            Adapter(Path(adapters.lora)).add(networks, adapters.lora_scale)
        new = None
        if adapters.embedding is not None:
            widths = [encoder.config.hidden_size for encoder, _ in encoders]
            new = NewWord.read(Path(adapters.embedding), widths)
        side = network.config.sample_size or USUAL_SIDE
        if self.packed:
            pack_convolutions(network, side if isinstance(side, int) else max(side), device, dtype)
        self.network, self.adapters = network, adapters
        self.encoder = self._text_encoder(encoders)
        self.encoder.new = new
        self.in_channels, self.channels = network.config.in_channels, network.config.out_channels
        self._check()

    def _build(self, dtype: torch.dtype, device: torch.device) -> Any:
        """Build the network."""
        return build_unet(self.parts.denoiser, dtype, device)

    def _text_encoder(self, encoders: list[tuple[ClipText, ClipTokenizer]]) -> TextEncoder:
        return TextEncoder(encoders, self.device)

    def _check(self) -> None:
        """Raise WeightsError if the text encoders do not give what the network takes."""
        config, width = self.network.config, self.encoder.width
        if any(each != width for each in config.by_level(config.cross_attention_dim)):
            raise WeightsError(
                f"{self.parts.source}: the text encoders give {width} numbers a word; the U-Net takes "
                f"{config.cross_attention_dim}.",
                "Get a complete copy of the checkpoint.",
            )
        if config.addition_embed_type and not self.encoder.is_double:
            raise WeightsError(
                f"{self.parts.source}: the U-Net needs pooled prompts, which the text encoder does not give.",
                "Get a complete copy of the checkpoint.",
            )

    @property
    def default_guidance(self) -> float:
        """The guidance scale where none is given: that of diffusers' pipelines."""
        if self.network.config.time_cond_proj_dim:
            return DEFAULT_GUIDANCE_LCM
        return DEFAULT_GUIDANCE_XL if self.network.config.addition_embed_type else DEFAULT_GUIDANCE

    @property
    def knows_guidance(self) -> bool:
        """True if the network was given the guidance scale in training: it has learned what guidance does."""
        return bool(self.network.config.time_cond_proj_dim)

    def grid(self, factor: int) -> tuple[int, int]:
        """Return what the sides of an image are multiples of, and the largest side, in pixels."""
        return factor, MAX_PIXELS

    def latent_size(self, options: Options, factor: int, given: tuple[int, int] | None) -> tuple[int, int]:
        """Return the requested size, else that of an input image, else the one that the model learned.

        Raises:
            OptionError: It is no multiple of ``factor``, or too large.
        """
        sizes = read_options(SizeOptions, options)
        step, largest = self.grid(factor)
        side = self.network.config.sample_size or USUAL_SIDE
        learned = side if isinstance(side, tuple) else (side, side)
        height, width = given or (factor * learned[0], factor * learned[1])
        size = sizes.height or height // step * step, sizes.width or width // step * step
        if any(side % step or not side for side in size):
            nearest = [max(-(-side // step), 1) * step for side in size]
            raise OptionError(
                f"--width and --height must be multiples of {step}, not {size[1]} and {size[0]}.",
                f"Try --width {nearest[1]} --height {nearest[0]}.",
            )
        _check_size(size, largest)
        return size[0] // factor, size[1] // factor

    def second_pass(self, options: Options, factor: int, first: tuple[int, int]) -> SecondPass | None:
        """Return a pass of ``--hires`` times the size, if that is given.

        Raises:
            OptionError: It is too large, or there is none.
        """
        hires = read_options(HiresOptions, options)
        if hires.hires is None:
            if hires.hires_strength is not None:
                raise OptionError("--hires-strength needs a second pass.", "Add --hires 2.")
            return None
        step, largest = self.grid(factor)
        height, width = (round(hires.hires * side * factor / step) * step for side in first)
        _check_size((height, width), largest)
        strength = DEFAULT_HIRES_STRENGTH if hires.hires_strength is None else hires.hires_strength
        return SecondPass((height // factor, width // factor), strength)

    def bind(self, batch: Batch, image_size: tuple[int, int], beside: Tensor | None) -> Network:
        """Return the network with the batch's prompts and guidance bound.

        Raises:
            OptionError: A prompt is too long.
        """
        options = read_options(PromptOptions, batch.options)
        adapters = read_options(AdapterOptions, batch.options)
        if adapters != self.adapters:
            self._load(adapters)
        scale = self.default_guidance if options.guidance_scale is None else options.guidance_scale
        guided = scale > 1 and not self.knows_guidance
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
                embedding = self.negative([negatives[i] for i in rows], count).followed_by(embedding)
            index = torch.tensor(rows, device=self.device)
            groups.append(Group(index, embedding.words, self.added(embedding, image_size, scale)))

        def network(x: Tensor, t: float) -> Tensor:
            out = torch.empty(len(x), self.channels, *x.shape[2:], device=x.device)
            for group in groups:
                rows = x[group.rows]
                if beside is not None:
                    rows = torch.cat([rows, beside[group.rows]], dim=1)
                rows = rows.to(self.dtype)
                rows = torch.cat([rows, rows]) if guided else rows
                predicted = self.network(rows, t, group.context, **group.added).float()
                if guided:
                    unconditional, conditional = predicted.chunk(2)
                    predicted = classifier_free_guidance(conditional, unconditional, scale)
                    predicted = rescaled(predicted, conditional, options.guidance_rescale)
                out[group.rows] = predicted
            return out

        return network

    def added(self, embedding: Embedding, size: tuple[int, int], scale: float) -> dict[str, Any]:
        """Return what the U-Net takes beside the words: sizes and pooled prompts, or the guidance scale."""
        added: dict[str, Any] = {}
        n, config = len(embedding.words), self.network.config
        if config.addition_embed_type:
            sizes = torch.tensor([[*size, 0, 0, *size]], dtype=torch.float32, device=self.device)
            added |= {"pooled": embedding.pooled, "sizes": sizes.expand(n, -1)}
        if width := config.time_cond_proj_dim:
            added["guidance"] = guidance_embedding(torch.full((n,), scale - 1, device=self.device), width)
        return added

    def negative(self, negatives: Sequence[str | None], count: int) -> Embedding:
        """Return the embeddings of negative prompts; of None it is what stands for no prompt."""
        negative = self.encoder.encode([text or "" for text in negatives], count)
        if self.zeros_for_no_negative:
            keep = torch.tensor([text is not None for text in negatives], device=self.device)
            zeros = negative.zeros()
            pooled = negative.pooled
            if pooled is not None and zeros.pooled is not None:
                pooled = torch.where(keep[:, None], pooled, zeros.pooled)
            negative = Embedding(torch.where(keep[:, None, None], negative.words, zeros.words), pooled)
        return negative


def _check_size(size: tuple[int, int], largest: int) -> None:
    if max(size) > largest:
        raise OptionError(
            f"{size[1]} × {size[0]} pixels are too many for this model; at most {largest} along a side.",
            "Make a smaller image, and enlarge it: zoo run aura-sr --input IMAGE",
        )
    if size[0] * size[1] > MAX_PIXELS:
        raise OptionError(
            f"{size[1]} × {size[0]} pixels are too many; at most {MAX_PIXELS:,} in all.",
            "Make a smaller image, and enlarge it: zoo run aura-sr --input IMAGE",
        )


def guidance_embedding(scales: Tensor, width: int) -> Tensor:
    """Embed guidance scales (n,), less 1, as sinusoids: (n, width) (Luo et al. 2023, arXiv:2310.04378)."""
    half = width // 2
    i = torch.arange(half, dtype=torch.float32, device=scales.device)
    angles = 1000.0 * scales[:, None] * torch.exp(-math.log(10000.0) * i / (half - 1))
    return torch.nn.functional.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, width % 2))
