"""Generate text token by token, each sampled given the tokens before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from zoo_core import Batch, Checkpoint, OptionError, Step, load_network, read_config, read_options

from . import alphabet
from .transformer import Config, Transformer, sample_tokens


@dataclass(frozen=True)
class SamplingOptions:
    """Options of a run, as declared in zoo.toml."""

    temperature: float
    max_tokens: int


class MyModel:
    """A transformer over characters with loaded weights."""

    batch_size = 64

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None) -> None:
        self.dtype = dtype or torch.float32
        self.device = device
        source = checkpoint.source
        config = read_config(Config, checkpoint.json("config.json"), source, ignore=("model_type", "zoo"))
        tensors = checkpoint.tensors("model")
        self.network = load_network(lambda: Transformer(config), tensors, source, self.dtype, device)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Continue the batch's prompts, one token per step and one uniform number per token.

        Raises:
            OptionError: A prompt is too long, or has a character that is not in the alphabet.
        """
        options = read_options(SamplingOptions, batch.options)
        count = options.max_tokens
        prompts = [self._encode(prompt or "", count) for prompt in batch.prompts]
        rows = torch.arange(batch.n, device=self.device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        # Prompts are aligned left: by causality, padding after the end of a row does not affect it.
        tokens = torch.zeros(batch.n, int(lengths.max()) + count, dtype=torch.long, device=self.device)
        for row, prompt in enumerate(prompts):
            tokens[row, : len(prompt)] = torch.tensor(prompt, device=self.device)
        u = batch.noise.uniform(count)
        texts: list[list[int]] = [[] for _ in prompts]
        for i in range(count):
            logits = self.network(tokens[:, : int(lengths.max()) + i])[rows, lengths + i - 1].float()
            sampled = sample_tokens(logits / options.temperature, u[:, i])
            tokens[rows, lengths + i] = sampled
            for text, token in zip(texts, sampled.tolist(), strict=True):
                text.append(token)
            yield Step(i + 1, count, texts=tuple(map(alphabet.decode, texts)))

    def _encode(self, prompt: str, count: int) -> list[int]:
        """Return the tokens of a prompt, after the token that begins a text."""
        tokens = [alphabet.END, *alphabet.encode(prompt)]
        if len(tokens) > self.network.config.context - count:
            raise OptionError(
                f"A prompt of {len(tokens) - 1} characters leaves no room for {count} new ones.",
                "Give a shorter prompt, or a smaller --max-tokens.",
            )
        return tokens
