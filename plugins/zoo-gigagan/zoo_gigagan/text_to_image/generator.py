"""The text-to-image generator: prompts and noise to images, with prompts mixed or interpolated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_core import Batch, Checkpoint, OptionError, Step, load_network, read_config, read_options
from zoo_gigagan.text_to_image.clip import ClipPrompts
from zoo_gigagan.text_to_image.network import Condition, TextToImage, TextToImageConfig
from zoo_gigagan.text_to_image.text import TextEmbedding, WordTokenizer

MEAN_STYLE_SAMPLES = 256
"""Noises over which the mean style of a prompt is taken."""


@dataclass(frozen=True)
class SamplingOptions:
    """Options of ``zoo run``, as zoo.toml declares them."""

    mix: str | None
    mix_from: int
    toward: str | None
    share: tuple[float, ...]
    truncation: tuple[float, ...]


class GigaGAN:
    """A generator of images from prompts: config.json, model.safetensors, and a CLIP's tokenizer.json.

    Raises:
        WeightsError: The config is not supported, or the weights do not fit it.
    """

    batch_size = 8

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        config = read_config(
            TextToImageConfig,
            checkpoint.json("config.json"),
            f"{checkpoint.source}: config.json",
            ignore=("model_type",),
        )
        self.dtype, self.device, self.config = dtype or torch.float32, device, config
        self.network = load_network(
            lambda: TextToImage(config), checkpoint.tensors("model"), checkpoint.source, self.dtype, device
        )
        self.tokenizer = (
            WordTokenizer(config.vocabulary, config.context)
            if config.clip is None
            else ClipPrompts.read(checkpoint, config.clip)
        )

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Generate an image for each sample, in one step.

        Raises:
            OptionError: A prompt is too long, or this model has no feature map of side ``mix_from``.
        """
        options, sizes = read_options(SamplingOptions, batch.options), self.config.sizes
        if options.mix is not None and options.mix_from not in sizes:
            raise OptionError(
                f"--mix-from is {options.mix_from}; this model has no feature map of that side.",
                f"Give one of {', '.join(str(size) for size in sizes)}.",
            )
        z = batch.noise.normal(self.config.z_dim).to(self.dtype)
        noises = [
            [batch.noise.normal(1, size, size).to(self.dtype) for size in block_sizes]
            for block_sizes in self.network.noise_sizes
        ]
        coarse = self._condition(z, [prompt or "" for prompt in batch.prompts], options)
        fine = coarse
        if options.mix is not None:
            fine = self._condition(z, [options.mix] * batch.n, options)
        conditions = [coarse if size < options.mix_from else fine for size in sizes]
        images = self.network(conditions, noises)
        yield Step(images=images[-1].clamp(-1, 1).float())

    def _condition(self, z: Tensor, prompts: list[str], options: SamplingOptions) -> Condition:
        """Return the condition of each prompt, truncated, and interpolated to ``--toward``."""
        truncation = torch.tensor(options.truncation, device=self.device)[:, None].to(self.dtype)
        condition = self._truncated(z, prompts, truncation)
        if options.toward is None:
            return condition
        target = self._truncated(z, [options.toward] * len(prompts), truncation)
        share = torch.tensor(options.share, device=self.device)[:, None].to(self.dtype)
        return interpolate(condition, target, share)

    def _truncated(self, z: Tensor, prompts: list[str], truncation: Tensor) -> Condition:
        tokens = torch.tensor([self.tokenizer.encode(prompt) for prompt in prompts], device=self.device)
        condition = self.network.condition(z, tokens)
        if bool((truncation == 1).all()):
            return condition
        random = torch.Generator().manual_seed(0)
        many = torch.randn(MEAN_STYLE_SAMPLES, self.config.z_dim, generator=random).to(z)
        means = [
            self.network.mapping(many, t_global.expand(MEAN_STYLE_SAMPLES, -1)).mean(0)
            for t_global in condition.text.t_global
        ]
        return condition._replace(style=torch.stack(means).lerp(condition.style, truncation))


def interpolate(start: Condition, end: Condition, share: Tensor) -> Condition:
    """Return the condition that is ``share`` (n, 1), in [0, 1], of the way from ``start`` to ``end``.

    Styles are interpolated. Attention sees the words of both prompts: those of ``end`` with weight ``share``,
    those of ``start`` with the rest.
    """
    words = torch.cat([start.text.t_local, end.text.t_local], 1)
    bias = torch.cat([start.text.bias + (1 - share).log(), end.text.bias + share.log()], 1)
    t_global = start.text.t_global.lerp(end.text.t_global, share)
    return Condition(start.style.lerp(end.style, share), TextEmbedding(words, bias, t_global))
