"""Plain ``.pt`` files of StyleGAN2, as rosinality's code writes them: a state dict ``g_ema`` and no config.

Names such as ``style.1.weight``, ``convs.0.conv.weight`` and ``to_rgbs.0.bias`` map one to one to NVIDIA's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count, takewhile

from torch import Tensor

from zoo_core import WeightsError, read_config
from zoo_stylegan.networks.stylegan2 import MIN_RESOLUTION, StyleGAN2Config

PARTS: Mapping[str, str] = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "activate.bias": "bias",
    "bias": "bias",
    "noise.weight": "noise_strength",
}
"""Tensors of a layer: their name here, and NVIDIA's."""
MARKS = ("input.input", "style.1.", "to_rgb1.")
"""Beginnings of names that only such a file has."""
DERIVED = (".blur.kernel", ".upsample.kernel")
"""Filters, all of one known value: they are not read."""


def infer_config(tensors: Mapping[str, Tensor], source: str) -> StyleGAN2Config:
    """Infer the config from the shapes of the tensors.

    Raises:
        WeightsError: The tensors are not those of a StyleGAN2 in this layout.
    """
    try:
        channels = [tensors["input.input"].shape[1]]
        blocks = takewhile(lambda index: f"convs.{2 * index}.conv.weight" in tensors, count())
        channels += [tensors[f"convs.{2 * index}.conv.weight"].shape[1] for index in blocks]
        w_dim, z_dim = tensors["style.1.weight"].shape
        layers = takewhile(lambda index: f"style.{index}.weight" in tensors, count(1))
        inferred = {
            "resolution": MIN_RESOLUTION << (len(channels) - 1),
            "channels": channels,
            "z_dim": z_dim,
            "w_dim": w_dim,
            "mapping_layers": len(list(layers)),
            "image_channels": tensors["to_rgb1.conv.weight"].shape[1],
        }
    except (KeyError, IndexError, ValueError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise WeightsError(
            f"{source} is not a StyleGAN2 in the plain .pt layout: {reason}.",
            "Use a .pt file whose g_ema has the tensors style.N, convs.N and to_rgbs.N.",
        ) from error
    return read_config(StyleGAN2Config, inferred, source)


def rename_tensors(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Rename and reshape tensors to NVIDIA's layout; unknown names stay, and loading refuses them by name.

    Raises:
        WeightsError: A tensor has too few axes.
    """
    renamed = {}
    for name, tensor in tensors.items():
        if not name.endswith(DERIVED):
            try:
                renamed[_nvidia_name(name)] = _reshape(name, tensor)
            except IndexError as error:
                raise WeightsError(
                    f"{source}: the tensor {name} has the shape {tuple(tensor.shape)}, with too few axes.",
                    "Get a fresh copy of the file.",
                ) from error
    return renamed


def _nvidia_name(name: str) -> str:
    if match := re.fullmatch(r"style\.(\d+)\.(weight|bias)", name):
        return f"mapping.fc{int(match[1]) - 1}.{match[2]}"
    if match := re.fullmatch(r"noises\.noise_(\d+)", name):
        return f"{_conv_name(int(match[1]) - 1)}.noise_const"
    if name == "input.input":
        return "synthesis.b4.const"
    if match := re.fullmatch(r"(conv1|to_rgb1|convs\.(\d+)|to_rgbs\.(\d+))\.(.+)", name):
        layer, conv, to_rgb, part = match.groups()
        if part in PARTS:
            if layer.startswith("conv"):
                return f"{_conv_name(int(conv or -1))}.{PARTS[part]}"
            resolution = MIN_RESOLUTION if to_rgb is None else 2 * MIN_RESOLUTION << int(to_rgb)
            return f"synthesis.b{resolution}.torgb.{PARTS[part]}"
    return name


def _conv_name(index: int) -> str:
    """Return NVIDIA's name of ``convs.INDEX``; −1 stands for ``conv1``, which reads the learned constant."""
    if index < 0:
        return "synthesis.b4.conv1"
    return f"synthesis.b{2 * MIN_RESOLUTION << index // 2}.conv{index % 2}"


def _reshape(name: str, tensor: Tensor) -> Tensor:
    if name == "input.input" or name.endswith("conv.weight"):
        return tensor[0]
    if name.startswith("noises."):
        return tensor[0, 0]
    if name.endswith("noise.weight"):
        return tensor[0]
    is_rgb_bias = name.startswith("to_rgb") and name.endswith(".bias") and tensor.ndim == 4
    return tensor.flatten() if is_rgb_bias else tensor
