"""Autoregressive decoding: read the prompts once, then one token at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from zoo_core import WeightsError
from zoo_core.kernels import has_packed_linear
from zoo_gpt.decoding.cuda_graph import GraphedStep
from zoo_gpt.network.cache import KVCache
from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.transformer import Transformer

CACHE_MEMORY = 2**30
"""Bytes of keys and values that a batch of images may take."""
MAX_BATCH = 64
MIN_GRAPH_STEPS = 16
"""With fewer steps no CUDA graph is recorded: recording runs three steps itself."""

Sample = Callable[[Tensor], Tensor]
"""Maps the next token's logits (n, vocab_out) float32 to tokens (n,) int64."""


def batch_size_for(config: TransformerConfig) -> int:
    """Return how many full-length sequences fit into ``CACHE_MEMORY`` with guidance, which doubles them."""
    one = 2 * config.layers * 2 * config.kv_heads * config.head_dim * config.context * torch.float32.itemsize
    return max(1, min(MAX_BATCH, CACHE_MEMORY // one))


def require_numbers(logits: Tensor) -> None:
    """Refuse logits of which one is NaN: nothing can be sampled from them.

    Raises:
        WeightsError: One is NaN. The weights hold NaN or infinity, or overflow in half precision.
    """
    if bool(logits.isnan().any()):
        raise WeightsError(
            "The network computes NaN: its weights are damaged, or too large for half precision.",
            "Add --dtype float32; if that does not help, download the checkpoint again.",
        )


def cache_dtype(transformer: Transformer) -> torch.dtype:
    """Return the type of keys and values, in which attention is computed."""
    dtype = transformer.dtype
    if transformer.device.type == "cpu" and not has_packed_linear(dtype):
        # oneDNN's bfloat16 makes attention faster than float32 does; float16 took up to twice as long.
        return torch.promote_types(dtype, torch.float32)
    return dtype


def decode(
    transformer: Transformer, prompts: Sequence[Sequence[int]], steps: int, sample: Sample
) -> Iterator[Tensor]:
    """Yield the next token of every sequence, (n,) int64, ``steps`` times.

    Shorter sequences are padded at the start, and nothing attends to the padding: each is continued as if it
    were alone.

    Args:
        transformer: The network.
        prompts: n sequences of at least one token.
        steps: Number of tokens to add to each.
        sample: Chooses the tokens.

    Raises:
        WeightsError: The network computes NaN.
    """
    device = transformer.device
    longest = max(map(len, prompts))
    padding = [longest - len(prompt) for prompt in prompts]
    tokens = torch.tensor(
        [[0] * pad + list(prompt) for pad, prompt in zip(padding, prompts, strict=True)], device=device
    )
    left_padding = torch.tensor(padding, device=device) if any(padding) else None
    capacity = longest + steps - 1  # the last token is not read again
    cache = KVCache(
        transformer.config, len(prompts), capacity, device, cache_dtype(transformer), left_padding
    )
    # Experts are chosen on the host: no graph can hold that.
    graphed = device.type == "cuda" and transformer.config.experts is None
    graph: GraphedStep | None = None
    read = [tokens]
    for step in range(steps):
        if step and any(transformer.must_read_again(len(prompt) + step) for prompt in prompts):
            tokens, graph, cache.length = torch.cat(read, dim=1), None, 0
        elif step and graph is None and graphed and steps - step >= MIN_GRAPH_STEPS - 1:
            graph = GraphedStep(transformer, cache)
        logits = transformer.next_logits(tokens, cache) if graph is None else graph(tokens)
        if step == 0:
            require_numbers(logits)
        tokens = sample(logits)[:, None]
        read.append(tokens)
        yield tokens[:, 0]
