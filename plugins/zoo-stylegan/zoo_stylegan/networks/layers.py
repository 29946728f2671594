"""What StyleGAN2 and StyleGAN3 share: field types, equalized linear layers, modulation, demodulation.

Karras et al. 2018, "Progressive Growing of GANs", arXiv:1710.10196, section 4.1; Karras et al. 2020,
"Analyzing and Improving the Image Quality of StyleGAN", arXiv:1912.04958, section 2.2.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Between

# Types of the configs' fields, with the bounds that zoo_core.read_config checks.
Side = Annotated[int, Between(1, 4096)]
Latent = Annotated[int, Between(1, 4096)]
Width = Annotated[int, Between(1, 2**15)]
Channels = Annotated[int, Between(1, 4)]
Classes = Annotated[int, Between(0, 2**15)]
Count = Annotated[int, Between(1, 2**20)]
Depth = Annotated[int, Between(0, 64)]
Margin = Annotated[int, Between(0, 64)]
Factor = Annotated[int, Between(1, 64)]
Bound = Annotated[float, Between(0, 2**20)]
Frequency = Annotated[float, Between(0.5, 4096)]
Ratio = Annotated[float, Between(0.5, 16)]

SLOPE = 0.2
"""Negative slope of the leaky ReLU."""
GAIN = math.sqrt(2)
"""Restores the variance that a leaky ReLU removes."""
EPS = 1e-8


class EqualLinear(nn.Module):
    """A linear layer with equalized learning rate: unit-variance weights, scaled in each forward pass.

    It learns ``lr_multiplier`` times as fast as other layers; ``activation`` adds a leaky ReLU.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias_init: float = 0.0,
        lr_multiplier: float = 1.0,
        activation: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_multiplier))
        self.lr_multiplier = lr_multiplier
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in) to (n, out)."""
        weight_gain = self.lr_multiplier / math.sqrt(self.weight.shape[1])
        x = F.linear(x, self.weight * weight_gain, self.bias * self.lr_multiplier)
        return F.leaky_relu(x, SLOPE) * GAIN if self.activation else x


def normalize_2nd_moment(x: Tensor) -> Tensor:
    """Scale each row of x (n, d) to a mean square of 1."""
    return x * (x.square().mean(1, keepdim=True) + EPS).rsqrt()


def demodulation(weight: Tensor, style: Tensor) -> Tensor:
    """Return factors (n, out) that give a convolution by (out, in, k, k), modulated by (n, in), variance 1.

    1/√(Σ_{i,k} (s_i w_{o,i,k})² + ε): arXiv:1912.04958, equation 3.
    """
    return (style.square() @ weight.square().sum((2, 3)).T + EPS).rsqrt()


def modulate(x: Tensor, style: Tensor) -> Tensor:
    """Multiply the channels of x (n, c, h, w) by a style (n, c).

    Modulating the input of a convolution equals modulating its weights, and all samples then share the
    weights: a batch stays one convolution.
    """
    return x * style[:, :, None, None]
