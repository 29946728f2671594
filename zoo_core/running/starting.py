"""Begin a batch: from noise, or from an image that is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from zoo_core.data.input_image import read_input_image
from zoo_core.errors import OptionError
from zoo_core.noise import Noise
from zoo_core.protocols import Batch, Editor, Generator, Step

if TYPE_CHECKING:
    import torch

    from zoo_core.manifest.cards import ModelCard


def start(generator: Generator, batch: Batch) -> Iterator[Step]:
    """Begin a batch, computing nothing yet.

    Raises:
        OptionError: An image cannot be read, or an option needs one.
    """
    if not isinstance(generator, Editor):
        return iter(generator.generate(batch))
    options = vars(batch.options)
    if options.get("input") is not None:
        return iter(generator.edit(batch, read_input_image(options["input"], options.get("mask"))))
    if needy := next((name for name in ("mask", "strength") if options.get(name) is not None), None):
        raise OptionError(f"--{needy} needs an image.", "Add --input IMAGE.")
    return iter(generator.generate(batch))


class _Drawn(BaseException):
    """Leaves a generator as soon as it has drawn normals."""

    def __init__(self, normals: torch.Tensor) -> None:
        self.normals = normals


class _FirstNormals(Noise):
    draws_before = False
    """True if anything else was drawn before: a class."""

    def uniform(self, *shape: int) -> torch.Tensor:
        self.draws_before = True
        return super().uniform(*shape)

    def normal(self, *shape: int) -> torch.Tensor:
        raise _Drawn(super().normal(*shape))


def initial_noise(generator: Generator, batch: Batch) -> tuple[torch.Tensor | None, bool]:
    """Return the normals (n, …) that a batch begins with, computing no more; None if it draws none.

    Returns:
        The normals, and True if a class was drawn before them.
    """
    noise = _FirstNormals(batch.noise.seeds, batch.noise.device)
    try:
        next(start(generator, replace(batch, noise=noise)))
    except _Drawn as drawn:
        return drawn.normals, noise.draws_before
    return None, noise.draws_before


def takes_no_latents(card: ModelCard) -> OptionError:
    """Return the error that a model begins with no normals."""
    return OptionError(
        f"{card.id} begins with no normals, so it takes no latents.", "Leave out latents, and give a seed."
    )
