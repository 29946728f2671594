"""The sample-adaptive convolution: Kang et al. 2023, arXiv:2303.05511, section 3.1."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-8


class AdaptiveConv(nn.Module):
    """A 3×3 convolution whose kernel is a mixture from a bank: equations 2 and 3.

    ``init_std`` of the initial weights, by default 1 / √(9 in_channels), sets how fast they learn; the output
    does not depend on it, as kernels are normalised.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernels: int, init_std: float | None = None
    ) -> None:
        super().__init__()
        init_std = 1 / math.sqrt(9 * in_channels) if init_std is None else init_std
        self.weights = nn.Parameter(torch.randn(kernels, out_channels, in_channels, 3, 3) * init_std)

    def kernel(self, modulation: Tensor, selection: Tensor) -> Tensor:
        """Return the kernel of each sample, (n, out, in, 3, 3), demodulated.

        ``selection`` (n, kernels) are the logits of the mixture; 1 + ``modulation`` (n, in) scales its input.
        """
        kernel = torch.einsum("nk,koihw->noihw", selection.softmax(1), self.weights)
        kernel = kernel * (1 + modulation[:, None, :, None, None])
        energy = kernel.square().sum((2, 3, 4), keepdim=True)
        return kernel * energy.clamp(min=EPS).rsqrt()

    def forward(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h, w) with a kernel per sample, (n, …), or one for all, (1, …)."""
        if len(kernel) == 1:
            return F.conv2d(x, kernel[0], padding=1)
        n, _, h, w = x.shape
        y = F.conv2d(x.reshape(1, -1, h, w), kernel.flatten(0, 1), padding=1, groups=n)
        return y.view(n, -1, h, w)
