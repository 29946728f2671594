"""Random tensors of guided-diffusion's networks, named and laid out as their constructors do."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def openai_tensors(
    width: int,
    multipliers: tuple[float, ...],
    layers: int,
    attending: tuple[int, ...],
    in_resnets: bool,
    scale_shift: bool,
    out: int,
    classes: int | None,
    with_up: bool = True,
) -> dict[str, Tensor]:
    """The tensors of a network of guided-diffusion, laid out as its constructor does."""
    found: dict[str, Tensor] = {}
    e = 4 * width

    def layer(name: str, *shape: int) -> None:
        found[f"{name}.weight"] = torch.randn(shape) / math.sqrt(max(math.prod(shape[1:]), 1))
        found[f"{name}.bias"] = torch.randn(shape[0]) / 10

    def residual(name: str, c_in: int, c_out: int) -> None:
        layer(f"{name}.in_layers.0", c_in)
        layer(f"{name}.in_layers.2", c_out, c_in, 3, 3)
        layer(f"{name}.emb_layers.1", (1 + scale_shift) * c_out, e)
        layer(f"{name}.out_layers.0", c_out)
        layer(f"{name}.out_layers.3", c_out, c_out, 3, 3)
        if c_in != c_out:
            layer(f"{name}.skip_connection", c_out, c_in, 1, 1)

    def attention(name: str, c: int) -> None:
        layer(f"{name}.norm", c)
        layer(f"{name}.qkv", 3 * c, c, 1)
        layer(f"{name}.proj_out", c, c, 1)

    layer("time_embed.0", e, width)
    layer("time_embed.2", e, e)
    if classes:
        found["label_emb.weight"] = torch.randn(classes, e)
    c = int(multipliers[0] * width)
    layer("input_blocks.0.0", c, 3, 3, 3)
    widths, i = [c], 1
    for level, multiplier in enumerate(multipliers):
        for _ in range(layers):
            residual(f"input_blocks.{i}.0", c, int(multiplier * width))
            c = int(multiplier * width)
            if level in attending:
                attention(f"input_blocks.{i}.1", c)
            widths.append(c)
            i += 1
        if level < len(multipliers) - 1:
            if in_resnets:
                residual(f"input_blocks.{i}.0", c, c)
            else:
                layer(f"input_blocks.{i}.0.op", c, c, 3, 3)
            widths.append(c)
            i += 1
    residual("middle_block.0", c, c)
    attention("middle_block.1", c)
    residual("middle_block.2", c, c)
    i = 0
    for level, multiplier in reversed(list(enumerate(multipliers))) if with_up else ():
        for k in range(layers + 1):
            residual(f"output_blocks.{i}.0", c + widths.pop(), int(multiplier * width))
            c = int(multiplier * width)
            if level in attending:
                attention(f"output_blocks.{i}.1", c)
            if level and k == layers:
                name = f"output_blocks.{i}.{1 + (level in attending)}"
                residual(name, c, c) if in_resnets else layer(f"{name}.conv", c, c, 3, 3)
            i += 1
    layer("out.0", c)
    if with_up:
        layer("out.2", out, c, 3, 3)
    return found


def classifier_tensors(
    width: int = 32,
    multipliers: tuple[float, ...] = (1, 2),
    layers: int = 2,
    attending: tuple[int, ...] = (1,),
    side: int = 4,
    classes: int = 5,
) -> dict[str, Tensor]:
    """A noisy classifier of guided-diffusion."""
    tensors = openai_tensors(width, multipliers, layers, attending, True, True, 0, None, with_up=False)
    c = int(width * multipliers[-1])
    return tensors | {
        "out.2.positional_embedding": torch.randn(c, side**2 + 1) / math.sqrt(c),
        "out.2.qkv_proj.weight": torch.randn(3 * c, c, 1) / math.sqrt(c),
        "out.2.qkv_proj.bias": torch.randn(3 * c) / 10,
        "out.2.c_proj.weight": torch.randn(classes, c, 1) / math.sqrt(c),
        "out.2.c_proj.bias": torch.randn(classes) / 10,
    }
