"""The generator that zoo run runs: an image pixel by pixel, each drawn given those before it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from zoo_core import Batch, Checkpoint, Step

from .checkpoint import read
from .transformer import Config, Transformer, draw


class MyModel:
    """A transformer over the pixels of grey images, ready to draw.

    A token is a pixel's level, and the last token of the vocabulary starts an image.

    Args:
        checkpoint: ``config.json`` and ``model.safetensors``.
        device: Where to compute.
        dtype: The type to compute in; None is float32.
    """

    batch_size = 64

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        self.dtype = dtype or torch.float32
        self.network = read(checkpoint, Config, Transformer, device, self.dtype)
        self.levels = self.network.config.vocabulary - 1
        self.side = round(self.network.config.context**0.5)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Draw the batch's images, a row of pixels a step; one uniform number decides each pixel."""
        u = batch.noise.uniform(self.side**2)
        tokens = torch.full((batch.n, 1), self.levels, device=u.device)  # what starts an image
        for row in range(1, self.side + 1):
            for _ in range(self.side):
                logits = self.network(tokens)[:, -1, : self.levels].float()
                drawn = draw(logits / batch.options.temperature, u[:, tokens.shape[1] - 1])
                tokens = torch.cat([tokens, drawn[:, None]], dim=1)
            yield Step(row, self.side, images=self._images(tokens[:, 1:]))

    def _images(self, tokens: Tensor) -> Tensor:
        """Images (n, 1, side, side) of the pixels there are; the others are middle grey."""
        grey = torch.zeros(len(tokens), self.side**2, device=tokens.device)
        grey[:, : tokens.shape[1]] = tokens / (self.levels - 1) * 2 - 1
        return grey.view(-1, 1, self.side, self.side)
