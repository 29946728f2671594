"""The feed-forward part of a block: an MLP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gpt.network.config import TransformerConfig


def quick_gelu(x: Tensor) -> Tensor:
    """Return x · σ(1.702 x), an approximation of GELU (Hendrycks & Gimpel 2016, section 2)."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "silu": F.silu,
}
"""Activations by their names in published configs."""


class MLP(nn.Module):
    """Two linear layers with an activation between them; a third may gate it.

    Args:
        config: The network's.
        width: Channels between the layers.
        linear: The class of the layers.
    """

    def __init__(
        self, config: TransformerConfig, width: int, linear: Callable[..., nn.Module] = nn.Linear
    ) -> None:
        super().__init__()
        self.gate = linear(config.width, width, bias=config.mlp_bias) if config.gated else None
        self.up = linear(config.width, width, bias=config.mlp_bias)
        self.down = linear(width, config.width, bias=config.mlp_bias)
        self.activation = ACTIVATIONS[config.activation]
        self.limit = config.mlp_limit

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, width) to the same shape."""
        up: Tensor = self.up(x)
        out: Tensor = self.down(self.activation(up) if self.gate is None else self._gated(self.gate(x), up))
        return out

    def _gated(self, gate: Tensor, up: Tensor) -> Tensor:
        if self.limit is not None:
            gate, up = gate.clamp(max=self.limit), up.clamp(-self.limit, self.limit) + 1
        return self.activation(gate) * up
