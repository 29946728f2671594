"""Read the two networks of Real-ESRGAN from ncnn's files: numbers are read, and nothing is run.

``.param`` is text: a magic number, counts, and a line for each layer in the order of the computation.
``.bin`` has the weights in that order. For a convolution: a tag that says float16, the kernel (out, in, 3, 3)
padded to four bytes, the bias in float32. For a PReLU: its slopes in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo_core import Conversion, WeightsError

MAGIC = "7767517"
HALF = 0x01306B47
"""Tag of weights in float16."""
MOST_BYTES = 1_000_000
"""Largest ``.param``; the larger network's has 117,030."""
_LAYERS = {
    "Input", "Convolution", "PReLU", "Split", "Concat", "Eltwise", "BinaryOp", "Interp", "PixelShuffle",
}  # fmt: skip


def convert(path: Path) -> Conversion | None:
    """Return the network in ``path`` (``.param``) and the ``.bin`` beside it; None for another kind of file.

    Raises:
        WeightsError: The pair is damaged, incomplete, or holds another network.
    """
    if path.stat().st_size > MOST_BYTES:
        return None
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    if not lines or lines[0].strip() != MAGIC:
        return None
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise WeightsError(
            f"There is no {weights.name} beside {path}.", "Put the two files of a network together."
        )
    layers = [line.split() for line in lines[2:] if line.strip()]
    if any(layer[0] not in _LAYERS for layer in layers):
        raise _other(path)
    arrays = _read(layers, weights)
    names, config = (
        _dense(layers) if not any(layer[0] == "PReLU" for layer in layers) else _compact(layers, path)
    )
    if len(names) != len(arrays):
        raise _other(path)
    tensors: dict[str, Tensor] = {}
    for name, each in zip(names, arrays, strict=True):
        tensors |= {f"{name}.{key}": torch.from_numpy(value.copy()) for key, value in each.items()}
    return Conversion({"model_type": "real-esrgan", **config}, tensors)


def _read(layers: list[list[str]], file: Path) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Return the arrays of each layer that has some; the file must end with the last."""
    data, at = file.read_bytes(), 0
    found: list[dict[str, np.ndarray[Any, Any]]] = []

    def take(count: int, kind: str) -> np.ndarray[Any, Any]:
        nonlocal at
        size = count * np.dtype(kind).itemsize
        if count < 0 or at + size > len(data):
            raise WeightsError(f"{file} ends too early.", "Get a complete copy of the file.")
        at += size
        return np.frombuffer(data, kind, count, at - size)

    for layer in layers:
        settings = dict(setting.split("=", 1) for setting in layer if "=" in setting)
        if layer[0] == "Convolution":
            outputs, count = int(settings.get("0", -1)), int(settings.get("6", -1))
            if settings.get("1") != "3" or outputs < 1 or count < 9 or count % (9 * outputs):
                raise _other(file)
            if take(1, "<u4")[0] != HALF:
                raise WeightsError(f"{file} holds no weights in float16.", "Give the published file.")
            kernel = take(count, "<f2").reshape(outputs, -1, 3, 3)
            take(-2 * count % 4, "u1")
            found.append({"weight": kernel, "bias": take(outputs, "<f4")})
        elif layer[0] == "PReLU":
            found.append({"weight": take(int(settings.get("0", -1)), "<f4")})
    if at != len(data):
        raise WeightsError(f"{file} is longer than its layers.", "Give the .bin that belongs to the .param.")
    return found


def _dense(layers: list[list[str]]) -> tuple[list[str], dict[str, Any]]:
    """Return the names of the layers in order, and the config: six layers beside fifteen for each block."""
    convolutions = [layer for layer in layers if layer[0] == "Convolution"]
    blocks = (len(convolutions) - 6) // 15
    names = ["first", *_in_blocks(blocks), "after_blocks", "up.0", "up.1", "high", "last"]
    width, growth = (int(_outputs(layer)) for layer in (convolutions + convolutions)[:2])
    return names, {"network": "dense", "blocks": blocks, "width": width, "growth": growth}


def _in_blocks(blocks: int) -> Iterator[str]:
    for block in range(blocks):
        for dense in range(3):
            for layer in range(5):
                yield f"blocks.{block}.dense.{dense}.convs.{layer}"


def _compact(layers: list[list[str]], path: Path) -> tuple[list[str], dict[str, Any]]:
    convolutions = [layer for layer in layers if layer[0] == "Convolution"]
    resized = [layer for layer in layers if layer[0] == "Interp"]
    if len(resized) != 1:
        raise WeightsError(
            f"{path} shrinks its result: only networks that make images 4 times as large are read.",
            "Give the 4× network, and shrink its result.",
        )
    names = [name for i in range(len(convolutions) - 1) for name in (f"convs.{i}", f"activations.{i}")]
    config = {"network": "compact", "layers": len(convolutions) - 2, "width": int(_outputs(convolutions[0]))}
    return [*names, "last"], config


def _outputs(layer: list[str]) -> str:
    return next(setting[2:] for setting in layer if setting.startswith("0="))


def _other(path: Path) -> WeightsError:
    return WeightsError(f"{path} holds another network than Real-ESRGAN's.", "Give a network of Real-ESRGAN.")
