"""Places in a latent space: files of them, and ways from one to the next."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from zoo_core import Checkpoint, OptionError, WeightsError, save_weights
from zoo_stylegan.stylegan2 import StyleGAN2Config
from zoo_stylegan.stylegan3 import StyleGAN3Config

NAME = "ws"
"""Of the tensor in a file of styles."""


def read_latent(path: str, config: StyleGAN2Config | StyleGAN3Config) -> Tensor:
    """Read the styles in a file that :func:`write_latent` wrote, (1, layers, w_dim).

    Raises:
        OptionError: It is no such file, or one of another model.
    """
    file = Path(path)
    if file.suffix != ".safetensors" or not file.is_file():
        raise OptionError(
            f"--latent {path} is no file of styles.", "Give a .safetensors file that zoo invert wrote."
        )
    try:
        tensors = Checkpoint(path, {file.name: file}, "").tensors(file.stem)
    except WeightsError as error:
        raise OptionError(error.message, error.remedy) from error
    ws, shape = tensors.get(NAME), (1, config.layers, config.w_dim)
    if ws is None or ws.shape != shape:
        found = "none" if ws is None else f"some of shape {tuple(ws.shape)}"
        raise OptionError(
            f"--latent {path} has no styles for this model: {shape} are wanted, it has {found}.",
            "Give the file that zoo invert wrote for this model.",
        )
    return ws


def write_latent(path: Path, ws: Tensor) -> None:
    """Write styles (1, layers, w_dim) to a ``.safetensors`` file."""
    save_weights(path, {NAME: ws.float().cpu()})


def between(a: Tensor, b: Tensor, t: float, *, spherical: bool) -> Tensor:
    """Return the place at t in [0, 1] on the way from a to b, (n, d) each.

    Args:
        a: Where it begins.
        b: Where it ends.
        t: How far.
        spherical: Along the arc about 0 (Shoemake 1985, "Animating Rotation with Quaternion Curves", section
            3.3) in place of the line: noise of many dimensions lies near a sphere, and so do places between.
    """
    if not spherical:
        return torch.lerp(a, b, t)
    lengths = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    cos = (a * b).sum(1, keepdim=True) / (lengths[0] * lengths[1])
    angle = cos.clamp(-1, 1).acos()
    sin = angle.sin()
    straight = sin.abs() < 1e-4
    safe = torch.where(straight, torch.ones_like(sin), sin)
    along = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / safe
    return torch.where(straight, torch.lerp(a, b, t), along)


def walk(anchors: Tensor, count: int, *, spherical: bool, loop: bool) -> Tensor:
    """Return ``count`` places evenly on the way through all anchors, (count, d).

    Args:
        anchors: (m, d), m at least 2.
        count: Places; the first is the first anchor, the last the last one, or with ``loop`` one short of
            the first again.
        spherical: As for :func:`between`.
        loop: Whether it leads back to the first.
    """
    stops = torch.cat([anchors, anchors[:1]]) if loop else anchors
    legs = len(stops) - 1
    places = []
    for index in range(count):
        at = legs * index / (count if loop else max(count - 1, 1))
        leg = min(int(at), legs - 1)
        places.append(between(stops[leg : leg + 1], stops[leg + 1 : leg + 2], at - leg, spherical=spherical))
    return torch.cat(places)
