"""The plain ``.pt`` layout of StyleGAN2: a state dict under ``g_ema``, without a config: shapes tell.

Names such as ``style.1.weight``, ``convs.0.conv.weight`` and ``to_rgbs.0.bias`` map one to one onto NVIDIA's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count, takewhile

from torch import Tensor

from zoo_core import WeightsError
from zoo_stylegan.stylegan2 import SMALLEST, StyleGAN2Config

PARTS: Mapping[str, str] = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "activate.bias": "bias",
    "bias": "bias",
    "noise.weight": "noise_strength",
}
"""The parts of a layer, theirs and NVIDIA's. What is not here is derived: the filters' kernels."""
DERIVED = (".blur.kernel", ".upsample.kernel")


def read_config(tensors: Mapping[str, Tensor], source: str) -> StyleGAN2Config:
    """Read the sizes off the shapes.

    Raises:
        WeightsError: These are not the tensors of such a generator.
    """
    try:
        channels = [tensors["input.input"].shape[1]]
        blocks = takewhile(lambda index: f"convs.{2 * index}.conv.weight" in tensors, count())
        channels += [tensors[f"convs.{2 * index}.conv.weight"].shape[1] for index in blocks]
        w_dim, z_dim = tensors["style.1.weight"].shape
        colours = tensors["to_rgb1.conv.weight"].shape[1]
    except (KeyError, IndexError) as error:
        raise WeightsError(
            f"{source} is no StyleGAN2 in the plain layout: {error.args[0]!r} is missing or misshapen.",
            "Use a .pt file whose g_ema has the tensors style.N, convs.N and to_rgbs.N.",
        ) from error
    layers = takewhile(lambda index: f"style.{index}.weight" in tensors, count(1))
    return StyleGAN2Config(
        resolution=SMALLEST << (len(channels) - 1),
        channels=tuple(channels),
        z_dim=z_dim,
        w_dim=w_dim,
        mapping_layers=len(list(layers)),
        image_channels=colours,
    )


def rename(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn their tensors into NVIDIA's; names that are not known stay as they are, to be refused by name."""
    return {
        _name(name): _shaped(name, tensor) for name, tensor in tensors.items() if not name.endswith(DERIVED)
    }


def _name(name: str) -> str:
    if match := re.fullmatch(r"style\.(\d+)\.(weight|bias)", name):
        return f"mapping.fc{int(match[1]) - 1}.{match[2]}"
    if match := re.fullmatch(r"noises\.noise_(\d+)", name):
        return f"{_convolution(int(match[1]) - 1)}.noise_const"
    if name == "input.input":
        return "synthesis.b4.const"
    if match := re.fullmatch(r"(conv1|to_rgb1|convs\.(\d+)|to_rgbs\.(\d+))\.(.+)", name):
        layer, convolution, colours, part = match.groups()
        if part in PARTS:
            if layer.startswith("conv"):
                return f"{_convolution(int(convolution or -1))}.{PARTS[part]}"
            resolution = SMALLEST if colours is None else 2 * SMALLEST << int(colours)
            return f"synthesis.b{resolution}.torgb.{PARTS[part]}"
    return name


def _convolution(index: int) -> str:
    """The layer of ``convs.INDEX``; −1 is the one before them, on the constant."""
    if index < 0:
        return "synthesis.b4.conv1"
    return f"synthesis.b{2 * SMALLEST << index // 2}.conv{index % 2}"


def _shaped(name: str, tensor: Tensor) -> Tensor:
    if name == "input.input" or name.endswith("conv.weight"):
        return tensor[0]
    if name.startswith("noises."):
        return tensor[0, 0]
    if name.endswith("noise.weight"):
        return tensor[0]
    return (
        tensor.flatten()
        if name.startswith("to_rgb") and name.endswith(".bias") and tensor.ndim == 4
        else tensor
    )
