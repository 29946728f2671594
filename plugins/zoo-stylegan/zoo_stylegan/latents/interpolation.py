"""Interpolate between latents, and along a path through several of them."""

from __future__ import annotations

import torch
from torch import Tensor


def interpolate(a: Tensor, b: Tensor, t: float, *, spherical: bool) -> Tensor:
    """Return the latents at t on the way from a to b, (n, d).

    Args:
        a: Start, (n, d).
        b: End, (n, d).
        t: Position in [0, 1].
        spherical: True for slerp (Shoemake 1985, "Animating Rotation with Quaternion Curves", section 3.3),
            which keeps the length: Gaussian noise of many dimensions lies near a sphere. False for lerp.
    """
    if not spherical:
        return torch.lerp(a, b, t)
    lengths = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    cos = (a * b).sum(1, keepdim=True) / (lengths[0] * lengths[1])
    angle = cos.clamp(-1, 1).acos()
    sin = angle.sin()
    parallel = sin.abs() < 1e-4
    safe = torch.where(parallel, torch.ones_like(sin), sin)
    slerp = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / safe
    return torch.where(parallel, torch.lerp(a, b, t), slerp)


def latent_walk(anchors: Tensor, count: int, *, spherical: bool, loop: bool) -> Tensor:
    """Return ``count`` evenly spaced latents on the path through all anchors, (count, d).

    Args:
        anchors: (m, d), m at least 2.
        count: Number of latents. The first is the first anchor; the last is the last anchor or, with
            ``loop``, one step short of the first.
        spherical: As for :func:`interpolate`.
        loop: True to return to the first anchor.
    """
    stops = torch.cat([anchors, anchors[:1]]) if loop else anchors
    segments = len(stops) - 1
    latents = []
    for index in range(count):
        position = segments * index / (count if loop else max(count - 1, 1))
        segment = min(int(position), segments - 1)
        start, end = stops[segment : segment + 1], stops[segment + 1 : segment + 2]
        latents.append(interpolate(start, end, position - segment, spherical=spherical))
    return torch.cat(latents)
