"""The generator of images from prompts: noise and words to images, prompts mixed by size."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import torch
from torch import Tensor

from zoo_core import Batch, Checkpoint, OptionError, Step, load_weights
from zoo_gigagan.checkpoint import read_text_to_image
from zoo_gigagan.clip import ClipTokens
from zoo_gigagan.text import Text, Vocabulary
from zoo_gigagan.text_to_image import Condition, TextToImage

MEAN_OF = 256
"""Noises that the mean style of a prompt is taken over."""


class GigaGAN:
    """A generator ready to draw.

    Args:
        checkpoint: config.json and model.safetensors.
        device: Where to compute.
        dtype: Type to compute in; None is float32.

    Raises:
        WeightsError: The checkpoint holds no such generator.
    """

    batch_size = 8

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        config = read_text_to_image(checkpoint.json("config.json"), checkpoint.source)
        self.dtype, self.device = dtype or torch.float32, device
        with torch.device("meta"):
            self.network = TextToImage(config)
        load_weights(self.network, checkpoint.tensors("model"), checkpoint.source, self.dtype, device)
        self.network.eval().requires_grad_(False)
        self.config = config
        self.vocabulary = (
            Vocabulary(config.vocabulary, config.context)
            if config.clip is None
            else ClipTokens.read(checkpoint, config.clip)
        )

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Draw an image for each sample.

        Raises:
            OptionError: A prompt is too long, or options do not fit each other or this model.
        """
        options, sizes = batch.options, self.config.sizes
        if options.mix is not None and options.mix_from not in sizes:
            raise OptionError(
                f"--mix-from is {options.mix_from}; the maps of this model are of other sizes.",
                f"Give one of {', '.join(str(size) for size in sizes)}.",
            )
        z = batch.noise.normal(self.config.z_dim).to(self.dtype)
        noises = [[batch.noise.normal(1, s, s).to(self.dtype) for s in of] for of in self.network.noise_sizes]
        coarse = self._condition(z, [prompt or "" for prompt in batch.prompts], options)
        fine = coarse
        if options.mix is not None:
            fine = self._condition(z, [options.mix] * batch.n, options)
        conditions = [coarse if size < options.mix_from else fine for size in sizes]
        images = self.network(conditions, noises)
        yield Step(images=images[-1].clamp(-1, 1).float())

    def _condition(self, z: Tensor, prompts: list[str], options: SimpleNamespace) -> Condition:
        truncation = torch.tensor(options.truncation, device=self.device)[:, None].to(self.dtype)
        made = self._truncated(z, prompts, truncation)
        if options.toward is None:
            return made
        other = self._truncated(z, [options.toward] * len(prompts), truncation)
        return between(made, other, torch.tensor(options.share, device=self.device)[:, None].to(self.dtype))

    def _truncated(self, z: Tensor, prompts: list[str], truncation: Tensor) -> Condition:
        tokens = torch.tensor([self.vocabulary.encode(prompt) for prompt in prompts], device=self.device)
        made = self.network.condition(z, tokens)
        if bool((truncation == 1).all()):
            return made
        random = torch.Generator().manual_seed(0)
        many = torch.randn(MEAN_OF, self.config.z_dim, generator=random).to(z)
        means = [self.network.mapping(many, whole.expand(MEAN_OF, -1)).mean(0) for whole in made.text.whole]
        return made._replace(style=torch.stack(means).lerp(made.style, truncation))


def between(one: Condition, other: Condition, share: Tensor) -> Condition:
    """Return what is ``share`` (n, 1), in [0, 1], of the way from one condition to the other.

    Styles are interpolated. Words are read beside each other: attention to those of the other prompt is
    weighted by ``share``, to those of the first by the rest.
    """
    words = torch.cat([one.text.words, other.text.words], 1)
    bias = torch.cat([one.text.bias + (1 - share).log(), other.text.bias + share.log()], 1)
    whole = one.text.whole.lerp(other.text.whole, share)
    return Condition(one.style.lerp(other.style, share), Text(words, bias, whole))
