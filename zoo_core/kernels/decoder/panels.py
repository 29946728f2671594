"""Weights in panels of output channels, as the compiled products read them.

Integers come in groups with a scale, and an offset for 4 bits, as in the types Q8_0 and Q4_1 of ggml
(https://github.com/ggml-org/ggml, ggml-common.h).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GROUP = 32
"""Input channels that share a scale."""


@dataclass(frozen=True)
class Groups:
    """A weight (out, in) in groups of 32 inputs: w = scale · q + offset."""

    q: Tensor
    """(out, groups, 32): int8, or uint8 in [0, 15] for 4 bits."""
    scale: Tensor
    """(out, groups) float16."""
    offset: Tensor | None = None
    """(out, groups) float16. None: 0 for 8 bits, −8 · scale for 4 bits."""

    @property
    def bits(self) -> int:
        """4 or 8."""
        return 4 if self.q.dtype == torch.uint8 else 8

    def dequantised(self) -> Tensor:
        """Return (out, in) float32."""
        offset = self.offset
        if offset is None:
            offset = -8 * self.scale.float() if self.bits == 4 else torch.zeros_like(self.scale)
        return (self.q.float() * self.scale.float()[..., None] + offset.float()[..., None]).flatten(1)


def quantise(weight: Tensor, bits: int) -> Groups:
    """Round a weight (out, in) to groups of 8 bits, as GGUF's Q8_0, or of 4 bits with an offset, as Q4_1."""
    weight = weight.detach().float()
    if rest := -weight.shape[1] % GROUP:
        weight = torch.nn.functional.pad(weight, (0, rest))
    groups = weight.reshape(len(weight), -1, GROUP)
    if bits == 8:
        scale = (groups.abs().amax(-1) / 127).half()
        return Groups(_steps(groups, scale).clamp_(-127, 127).to(torch.int8), scale)
    low, high = groups.amin(-1), groups.amax(-1)
    scale, offset = ((high - low) / 15).half(), low.half()
    q = _steps(groups - offset.float()[..., None], scale).clamp_(0, 15)
    return Groups(q.to(torch.uint8), scale, offset)


def _steps(x: Tensor, scale: Tensor) -> Tensor:
    steps = 1 / scale.float()
    return (x * steps.masked_fill_(scale == 0, 0)[..., None]).round_()


def pack_floats(weight: Tensor, lanes: int, whole: int) -> Tensor:
    """Return panels (panels, in, lanes) of a weight (out, in), with zeros for missing channels."""
    weight = _padded(weight.detach(), whole, GROUP)
    panels: Tensor = weight.view(-1, lanes, weight.shape[1]).transpose(1, 2)
    return panels.contiguous()


def pack_groups(groups: Groups, lanes: int, whole: int) -> Tensor:
    """Return panels (panels, bytes) uint8: for each group the lanes' scales, offsets if there are, and q.

    8 bits: input pair by input pair, lane by lane. 4 bits: four input pairs in one int16, lane by lane, and
    both inputs of a pair beside each other.
    """
    q = _padded(groups.q, whole).view(torch.int16)  # (out, groups, 16): the two inputs of a pair as one
    pairs = q.view(-1, lanes, *q.shape[1:]).permute(0, 2, 3, 1)  # (panels, groups, 16, lanes)
    panels, count = pairs.shape[:2]
    if groups.bits == 4:
        four = pairs.reshape(panels, count, 4, 4, lanes)
        low, high = (
            (four[:, :, :, j] | four[:, :, :, j + 1] << 4).contiguous().view(torch.uint8) for j in (0, 2)
        )
        packed = torch.stack([low, high], dim=-1)
    else:
        packed = pairs.contiguous().view(torch.uint8)
    packed = packed.reshape(panels, count, -1)
    scales = [groups.scale] if groups.offset is None else [groups.scale, groups.offset]
    heads = [
        _padded(scale, whole).view(-1, lanes, count).transpose(1, 2).contiguous().view(torch.uint8)
        for scale in scales
    ]
    return torch.cat([*heads, packed], dim=2).flatten(1)


def _padded(x: Tensor, rows: int, columns: int = 1) -> Tensor:
    missing = [-x.shape[0] % rows, -x.shape[1] % columns]
    if not any(missing):
        return x
    whole = x.new_zeros((x.shape[0] + missing[0], x.shape[1] + missing[1], *x.shape[2:]))
    whole[: x.shape[0], : x.shape[1]] = x
    return whole
