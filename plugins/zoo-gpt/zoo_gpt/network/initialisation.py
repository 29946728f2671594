"""Fresh weights for training."""

from __future__ import annotations

import math

from torch import nn

from zoo_gpt.network.transformer import MLP, Attention, Transformer

INITIAL_STD = 0.02
"""Standard deviation of fresh weights (GPT-2)."""


def initialise(transformer: Transformer) -> Transformer:
    """Draw fresh weights as GPT-2 does (Radford et al. 2019, section 2.3); return the network.

    Each layer adds to the residual stream twice: those weights start √(2 · layers) times smaller.
    """
    residual_std = INITIAL_STD / math.sqrt(2 * transformer.config.layers)
    for module in transformer.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=INITIAL_STD)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for module in transformer.modules():
        if isinstance(module, Attention):
            nn.init.normal_(module.out.weight, std=residual_std)
        if isinstance(module, MLP):
            nn.init.normal_(module.down.weight, std=residual_std)
    return transformer
