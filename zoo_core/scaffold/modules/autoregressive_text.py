"""The generator that zoo run runs: a text token by token, each drawn given those before it."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from zoo_core import Batch, Checkpoint, OptionError, Step

from . import alphabet
from .checkpoint import read
from .transformer import Config, Transformer, draw


class MyModel:
    """A transformer over characters, ready to write.

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
        self.device = device
        self.network = read(checkpoint, Config, Transformer, device, self.dtype)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Go on with the batch's prompts, a token a step; one uniform number decides each token.

        Raises:
            OptionError: A prompt that is too long, or not in the alphabet.
        """
        count = batch.options.max_tokens
        prompts = [self._encode(prompt or "", count) for prompt in batch.prompts]
        rows = torch.arange(batch.n, device=self.device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        # Prompts begin at the left: what stands beyond a row's end is not seen by the tokens before it.
        tokens = torch.zeros(batch.n, int(lengths.max()) + count, dtype=torch.long, device=self.device)
        for row, prompt in enumerate(prompts):
            tokens[row, : len(prompt)] = torch.tensor(prompt, device=self.device)
        u = batch.noise.uniform(count)
        drawn: list[list[int]] = [[] for _ in prompts]
        for i in range(count):
            logits = self.network(tokens[:, : int(lengths.max()) + i])[rows, lengths + i - 1].float()
            token = draw(logits / batch.options.temperature, u[:, i])
            tokens[rows, lengths + i] = token
            for written, each in zip(drawn, token.tolist(), strict=True):
                written.append(each)
            yield Step(i + 1, count, texts=tuple(map(alphabet.decode, drawn)))

    def _encode(self, prompt: str, count: int) -> list[int]:
        """The tokens of a prompt after the one that begins a text."""
        tokens = [alphabet.END, *alphabet.encode(prompt)]
        room = self.network.config.context - count
        if len(tokens) > room:
            raise OptionError(
                f"A prompt of {len(tokens) - 1} characters leaves no room for {count} new ones.",
                "Give a shorter prompt, or a smaller --max-tokens.",
            )
        return tokens
