"""A multilayer perceptron, which all three models are made of."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def mlp(
    inputs: int, width: int, outputs: int, layers: int = 3, activation: type[nn.Module] = nn.SiLU
) -> nn.Sequential:
    """Return a network with ``layers`` hidden layers of a width, and activations between them."""
    sizes = [inputs, *[width] * layers]
    hidden = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), activation())]
    return nn.Sequential(*hidden, nn.Linear(width, outputs))
