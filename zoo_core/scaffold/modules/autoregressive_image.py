"""Generate images pixel by pixel, each sampled given the pixels before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_core import Batch, Checkpoint, Step, load_network, read_config, read_options

from .transformer import Config, Transformer, sample_tokens


@dataclass(frozen=True)
class SamplingOptions:
    """Options of a run, as declared in zoo.toml."""

    temperature: float


class MyModel:
    """A transformer over grey levels; the last token of the vocabulary starts an image."""

    batch_size = 64

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None) -> None:
        self.dtype = dtype or torch.float32
        source = checkpoint.source
        config = read_config(Config, checkpoint.json("config.json"), source, ignore=("model_type", "zoo"))
        tensors = checkpoint.tensors("model")
        self.network = load_network(lambda: Transformer(config), tensors, source, self.dtype, device)
        self.levels, self.side = config.vocabulary - 1, round(config.context**0.5)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Generate the batch's images, one row of pixels per step and one uniform number per pixel."""
        options = read_options(SamplingOptions, batch.options)
        u = batch.noise.uniform(self.side**2)
        tokens = torch.full((batch.n, 1), self.levels, device=u.device)  # the start token
        for row in range(1, self.side + 1):
            for _ in range(self.side):
                logits = self.network(tokens)[:, -1, : self.levels].float()
                sampled = sample_tokens(logits / options.temperature, u[:, tokens.shape[1] - 1])
                tokens = torch.cat([tokens, sampled[:, None]], dim=1)
            yield Step(row, self.side, images=self._images(tokens[:, 1:]))

    def _images(self, tokens: Tensor) -> Tensor:
        """Return images (n, 1, side, side); pixels that do not exist yet are grey."""
        grey = torch.zeros(len(tokens), self.side**2, device=tokens.device)
        grey[:, : tokens.shape[1]] = tokens / (self.levels - 1) * 2 - 1
        return grey.view(-1, 1, self.side, self.side)
