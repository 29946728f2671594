"""Faster layers on a CPU: convolutions of ``zoo_core.kernels``, packed once and with fewer multiplications.

Without it, oneDNN reorders the weights of a convolution at each call. At the lowest resolutions of a U-Net
that takes longer than the convolution.
"""

from __future__ import annotations

import re

import torch
from torch import nn

from zoo_core.kernels import has_packed_conv, pack_3x3, pack_conv


def pack_convolutions(network: nn.Module, side: int, device: torch.device, dtype: torch.dtype) -> None:
    """Replace a network's convolutions by packed ones, where this processor has them.

    Args:
        network: A U-Net or an autoencoder, on ``device`` and in ``dtype``. Its weights are not to be changed
            afterwards.
        side: Height and width of the usual latents. Other sizes give the same, perhaps not as fast.
        device: Where it computes.
        dtype: The type it computes in.
    """
    if not has_packed_conv(device, dtype):
        return
    convolutions = [
        (name, module)
        for name, module in network.named_modules()
        # The others are applied as linear layers.
        if isinstance(module, nn.Conv2d) and not name.endswith(("proj_in", "proj_out"))
    ]
    levels = 1 + max((int(found[1]) for name, _ in convolutions if (found := _LEVEL.search(name))), default=0)
    for name, conv in convolutions:
        size = (_side_at(name, side, levels),) * 2
        is_plain = conv.kernel_size == (3, 3) and conv.stride == (1, 1) and conv.padding == (1, 1)
        if is_plain and conv.bias is not None:
            network.set_submodule(name, pack_3x3(conv.weight, conv.bias, size, dtype))
        else:
            network.set_submodule(name, pack_conv(conv, size, dtype))


_LEVEL = re.compile(r"\b(?:down|up)_blocks\.(\d+)")


def _side_at(name: str, side: int, levels: int) -> int:
    """Return about the height and width of the maps that a convolution sees."""
    found = _LEVEL.search(name)
    if name.startswith("decoder."):  # from latents to the image
        return side << (int(found[1]) if found else 0)
    if name.startswith("encoder."):
        return side << (levels - 1 - (int(found[1]) if found else levels - 1))
    if found is None:
        return side if not name.startswith("mid_block") else max(side >> (levels - 1), 1)
    level = int(found[1]) if "down" in name else levels - 1 - int(found[1])
    return max(side >> level, 1)
