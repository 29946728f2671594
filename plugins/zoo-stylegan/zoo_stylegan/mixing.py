"""Style mixing: some layers of a picture from another seed's style; arXiv:1812.04948, section 3.1."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_core import OptionError


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
        match = re.fullmatch(r"(\d{1,18}):(\d{1,4}(?:-\d{1,4})?(?:,\d{1,4}(?:-\d{1,4})?)*)", text)
        if not match:
            raise OptionError(f"--mix {text} is no SEED:LAYERS.", "Give one such as --mix 7:4-9,12.")
        layers: list[int] = []
        for part in match[2].split(","):
            first, _, last = part.partition("-")
            layers.extend(range(int(first), int(last or first) + 1))
        if not layers or max(layers) >= count:
            raise OptionError(f"--mix {text}: this model has layers 0 to {count - 1}.", "Name some of these.")
        return cls(int(match[1]), tuple(sorted(set(layers))))

    def apply(self, ws: Tensor, other: Tensor) -> Tensor:
        """Take these layers from ``other``; both (n, layers, w_dim)."""
        chosen = torch.zeros(ws.shape[1], 1, dtype=torch.bool, device=ws.device)
        chosen[list(self.layers)] = True
        return torch.where(chosen, other, ws)
