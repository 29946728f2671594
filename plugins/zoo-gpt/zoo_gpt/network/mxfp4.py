"""Linear layers whose weights stay in MXFP4: 32 numbers of 4 bits share a power of two.

OCP Microscaling Formats (MX) specification 1.0, sections 5.2 and 5.3: E2M1 numbers with an E8M0 scale.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUP = 32
"""Numbers that share a scale."""
MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""The numbers of E2M1 by their lower three bits; the fourth is the sign."""
BIAS = 127
"""A scale is 2 to its byte minus this."""


def dequantise(blocks: Tensor, scales: Tensor) -> Tensor:
    """Return the numbers, (…, groups · 32) float32.

    Args:
        blocks: (…, groups, 16) uint8. A byte has two numbers, the first in its lower four bits.
        scales: (…, groups) uint8.
    """
    pairs = _pairs(blocks.device).index_select(0, blocks.flatten().int())  # (bytes, 2)
    factors = torch.ldexp(torch.ones_like(scales, dtype=torch.float32), scales.int() - BIAS)
    return (pairs.view(*scales.shape, GROUP) * factors[..., None]).flatten(-2)


@lru_cache(maxsize=16)
def _pairs(device: torch.device) -> Tensor:
    """Return the two numbers of each byte, (256, 2) float32."""
    with torch.inference_mode(False):
        numbers = torch.tensor([*MAGNITUDES, *(-number for number in MAGNITUDES)], device=device)
        byte = torch.arange(256, device=device)
        return torch.stack([numbers[byte & 15], numbers[byte >> 4]], dim=1)


class MXFP4Linear(nn.Module):
    """A linear layer that dequantises its weight whenever it computes: the memory is that of the file.

    Args:
        inputs: Channels read, a multiple of 32.
        outputs: Channels written.
        bias: Add a bias.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        groups = inputs // GROUP
        self.register_buffer("blocks", torch.zeros(outputs, groups, GROUP // 2, dtype=torch.uint8))
        self.register_buffer("scales", torch.zeros(outputs, groups, dtype=torch.uint8))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, inputs) to (…, outputs)."""
        weight = dequantise(self.get_buffer("blocks"), self.get_buffer("scales"))
        return F.linear(x, weight.to(x.dtype), self.bias)
