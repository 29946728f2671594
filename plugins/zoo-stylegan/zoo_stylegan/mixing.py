"""Style mixing: some layers of an image from another seed's style; arXiv:1812.04948, section 3.1."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_core import OptionError

LAYERS = re.compile(r"\d{1,4}(?:-\d{1,4})?(?:,\d{1,4}(?:-\d{1,4})?)*")


@dataclass(frozen=True)
class Mix:
    """What ``--mix SEED:LAYERS`` says."""

    seed: int
    layers: tuple[int, ...]

    @classmethod
    def read(cls, text: str, count: int) -> Mix:
        """Read ``7:4-9,12``: layers 4 to 9 and 12 from seed 7.

        Args:
            text: What was given.
            count: Layers the model has.

        Raises:
            OptionError: It says something else, or names a layer that there is not.
        """
        match = re.fullmatch(rf"(\d{{1,18}}):({LAYERS.pattern})", text)
        if not match:
            raise OptionError(f"--mix {text} is no SEED:LAYERS.", "Give one such as --mix 7:4-9,12.")
        return cls(int(match[1]), read_layers("--mix", match[2], count))

    def apply(self, ws: Tensor, other: Tensor) -> Tensor:
        """Take these layers from ``other``; both (n, layers, w_dim)."""
        return mixed(ws, other, self.layers)


def read_layers(flag: str, text: str, count: int) -> tuple[int, ...]:
    """Read ``4-9,12``: layers 4 to 9 and 12.

    Args:
        flag: What it was given as.
        text: What was given.
        count: Layers the model has.

    Raises:
        OptionError: It says something else, or names a layer that there is not.
    """
    if not LAYERS.fullmatch(text):
        raise OptionError(f"{flag} {text[:80]} names no layers.", "Give them as in 4-9,12.")
    layers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        layers.extend(range(int(first), int(last or first) + 1))
    if not layers or max(layers) >= count:
        raise OptionError(f"{flag} {text}: this model has layers 0 to {count - 1}.", "Name some of these.")
    return tuple(sorted(set(layers)))


def mixed(ws: Tensor, other: Tensor, layers: tuple[int, ...]) -> Tensor:
    """Take some layers of ``ws`` from ``other``; both (n, layers, w_dim)."""
    chosen = torch.zeros(ws.shape[1], 1, dtype=torch.bool, device=ws.device)
    chosen[list(layers)] = True
    return torch.where(chosen, other, ws)
