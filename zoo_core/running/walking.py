"""Walk through a latent space, or through the noise: from seed to seed, as images or as latents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo_core.errors import OptionError
from zoo_core.protocols import Prompt
from zoo_core.running.starting import initial_noise
from zoo_core.samples.images import to_bytes, to_image

if TYPE_CHECKING:
    from PIL.Image import Image

    from zoo_core.running.model import Model

BATCH = 8


def interpolate(a: Tensor, b: Tensor, t: float, *, spherical: bool) -> Tensor:
    """Return the latents at t on the way from a to b, (n, …).

    Args:
        a: Start, (n, …).
        b: End, (n, …).
        t: Position in [0, 1].
        spherical: True for slerp (Shoemake 1985, "Animating Rotation with Quaternion Curves", section 3.3),
            which keeps the length: Gaussian noise of many dimensions lies near a sphere. False for lerp.
    """
    if not spherical:
        return torch.lerp(a, b, t)
    u, v = a.flatten(1), b.flatten(1)
    cos = (u * v).sum(1, keepdim=True) / (u.norm(dim=1, keepdim=True) * v.norm(dim=1, keepdim=True))
    angle = cos.clamp(-1, 1).acos()
    sin = angle.sin()
    parallel = sin.abs() < 1e-4
    safe = torch.where(parallel, torch.ones_like(sin), sin)
    slerp = (((1 - t) * angle).sin() * u + (t * angle).sin() * v) / safe
    return torch.where(parallel, torch.lerp(u, v, t), slerp).view_as(a)


def latent_walk(anchors: Tensor, count: int, *, spherical: bool, loop: bool) -> Tensor:
    """Return ``count`` evenly spaced latents on the path through all anchors, (count, …).

    Args:
        anchors: (m, …), m at least 2.
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


def walk(
    model: Model,
    seeds: Sequence[int],
    frames: int,
    *,
    space: str,
    spherical: bool,
    loop: bool,
    prompt: Prompt | None = None,
    **options: Any,
) -> Iterator[Image]:
    """Yield the images on the way from seed to seed; what else is random is of the first one.

    Args:
        model: The model.
        seeds: At least two.
        frames: Number of images.
        space: ``w``, the space of a model with the capability ``latents``, or ``z``, the noise of any model
            that begins with normals.
        spherical: As for :func:`interpolate`.
        loop: True to return to the first seed.
        prompt: One for all images.
        options: The model's own options.

    Raises:
        OptionError: The model cannot walk there, or an option does not fit it.
    """
    if space == "w":
        anchors = model.encode(prompt, seeds=seeds, **options)
    else:
        requests = list(model.plan(prompt, seeds=seeds, **options))
        with model.computing():
            _, class_drawn = initial_noise(model.generator, model.batch(requests))
        if class_drawn and options.get("label") is None:
            raise OptionError(
                "--space z: interpolation in z is within one class, and the model has several.",
                "Add --label to give all the same class.",
            )
        anchors = model.initial_noise(prompt, seeds=seeds, **options)
    places = latent_walk(anchors, frames, spherical=spherical, loop=loop)
    if space == "w":
        yield from images_of(model, places, seeds[0], **options)
        return
    for sample in model.generate(prompt, latents=places, seeds=[seeds[0]] * frames, **options):
        yield sample.image


def images_of(model: Model, latents: Tensor, seed: int, **options: Any) -> Iterator[Image]:
    """Yield the images of latents (n, …); what else is random is of one seed for all."""
    for part in torch.split(latents, BATCH):
        yield from map(to_image, to_bytes(model.synthesize(part, seeds=[seed] * len(part), **options)))
