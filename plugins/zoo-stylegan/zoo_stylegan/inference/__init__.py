"""Fast inference: the implementation of a synthesis network that suits the device and the type."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo_core.kernels import has_packed_conv
from zoo_stylegan.inference import stylegan2, stylegan3
from zoo_stylegan.inference.cuda_graph import GraphedSynthesis
from zoo_stylegan.networks.stylegan2 import StyleGAN2
from zoo_stylegan.networks.stylegan3 import StyleGAN3


def optimize_for_inference(
    network: StyleGAN2 | StyleGAN3, *, device: torch.device, dtype: torch.dtype
) -> Callable[..., Tensor]:
    """Return the fastest implementation of ``network.synthesis``: the same arguments and images.

    That is a CUDA graph on a GPU, :class:`FastSynthesis` in float32 on a CPU with oneDNN, and otherwise the
    network itself. :class:`FastSynthesis` takes the weights over: the network cannot be called after that.
    """
    if device.type == "cuda":
        return GraphedSynthesis(network.synthesis)
    if dtype != torch.float32 or not has_packed_conv(device, dtype):
        return network.synthesis
    if isinstance(network, StyleGAN2):
        return stylegan2.FastSynthesis(network.synthesis)
    return stylegan3.FastSynthesis(network.synthesis)
