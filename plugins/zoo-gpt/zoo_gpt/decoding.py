"""Decode: read the prompts once, then go on token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from zoo_core.kernels import has_packed_linear
from zoo_gpt.graph import GraphedStep
from zoo_gpt.transformer import Cache, Transformer, TransformerConfig

CACHE_MEMORY = 2**30
MAX_BATCH = 64
GRAPH_FROM = 16
"""Fewer steps have no graph: recording it runs three of its own."""

Choose = Callable[[Tensor], Tensor]
"""From the next token's logits (n, vocab_out) float32 to the tokens (n,) int64."""


def comfortable_batch(config: TransformerConfig) -> int:
    """How many sequences of full length fit ``CACHE_MEMORY`` if guidance runs each of them twice."""
    one = 2 * config.layers * 2 * config.kv_heads * config.head_dim * config.context * torch.float32.itemsize
    return max(1, min(MAX_BATCH, CACHE_MEMORY // one))


def decode(
    transformer: Transformer, prompts: Sequence[Sequence[int]], steps: int, choose: Choose
) -> Iterator[Tensor]:
    """Yield the next token of every sequence, (n,) int64, ``steps`` times.

    Sequences of different lengths are padded at the start, where nothing attends to it: each goes on as if
    it were alone.

    Args:
        transformer: The network.
        prompts: n sequences of at least one token.
        steps: How many tokens to add to each.
        choose: Chooses them.
    """
    device = transformer.device
    longest = max(map(len, prompts))
    missing = [longest - len(prompt) for prompt in prompts]
    tokens = torch.tensor(
        [[0] * pad + list(prompt) for pad, prompt in zip(missing, prompts, strict=True)], device=device
    )
    pads = torch.tensor(missing, device=device) if any(missing) else None
    room = longest + steps - 1  # the last token is not read again
    dtype = transformer.dtype
    if device.type == "cpu" and not has_packed_linear(dtype):
        # oneDNN's bfloat16 makes attention faster than float32 does; float16 took up to twice as long.
        dtype = torch.promote_types(dtype, torch.float32)
    cache = Cache(transformer.config, len(prompts), room, device, dtype, pads)
    graph: GraphedStep | None = None
    for step in range(steps):
        if step == 1 and device.type == "cuda" and steps >= GRAPH_FROM:
            graph = GraphedStep(transformer, cache)
        logits = transformer.next_logits(tokens, cache) if graph is None else graph(tokens)
        tokens = choose(logits)[:, None]
        yield tokens[:, 0]
