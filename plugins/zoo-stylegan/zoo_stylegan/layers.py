"""What StyleGAN2 and StyleGAN3 share: equalised layers, and convolutions whose inputs a style scales.

Karras et al. 2018, "Progressive Growing of GANs", arXiv:1710.10196, section 4.1; Karras et al. 2020,
"Analyzing and Improving the Image Quality of StyleGAN", arXiv:1912.04958, section 2.2.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
"""Of the leaky ReLU below zero."""
GAIN = math.sqrt(2)
"""What restores the variance that a leaky ReLU takes."""
EPS = 1e-8


class EqualLinear(nn.Module):
    """A linear layer whose stored weights have unit variance: they are scaled when they are used.

    Args:
        into: Channels read.
        out: Channels made.
        bias: What biases begin at.
        rate: How fast it learns beside the other layers.
        active: Whether a leaky ReLU follows.
    """

    def __init__(
        self, into: int, out: int, *, bias: float = 0.0, rate: float = 1.0, active: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into) / rate)
        self.bias = nn.Parameter(torch.full((out,), bias / rate))
        self.rate = rate
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in) to (n, out)."""
        scale = self.rate / math.sqrt(self.weight.shape[1])
        x = F.linear(x, self.weight * scale, self.bias * self.rate)
        return F.leaky_relu(x, SLOPE) * GAIN if self.active else x


def normalise(x: Tensor) -> Tensor:
    """Scale each row (n, d) to a mean square of 1."""
    return x * (x.square().mean(1, keepdim=True) + EPS).rsqrt()


def demodulation(weight: Tensor, style: Tensor) -> Tensor:
    """Return what brings a modulated convolution back to unit variance, (n, out).

    1/√(Σ_{i,k} (s_i w_{o,i,k})² + ε): arXiv:1912.04958, equation 3.

    Args:
        weight: (out, in, k, k).
        style: s, (n, in).
    """
    return (style.square() @ weight.square().sum((2, 3)).T + EPS).rsqrt()


def scale(x: Tensor, by: Tensor) -> Tensor:
    """Multiply the channels of x (n, c, h, w) by (n, c).

    A convolution with weights that a style scales is one of inputs that it scales, with weights that all
    samples share: that of a whole batch stays one convolution.
    """
    return x * by[:, :, None, None]
