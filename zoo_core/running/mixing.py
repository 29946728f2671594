"""Mix latents by layer: take those of some layers from another sample; arXiv:1812.04948, section 3.1."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zoo_core.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

LAYERS = re.compile(r"\d{1,4}(?:-\d{1,4})?(?:,\d{1,4}(?:-\d{1,4})?)*")


def parse_layers(flag: str, text: str, count: int) -> tuple[int, ...]:
    """Parse ``4-9,12``: layers 4 to 9 and 12.

    Args:
        flag: The option, for messages.
        text: Its value.
        count: Number of layers in the model.

    Raises:
        OptionError: The text has another form, or the model has no such layer.
    """
    if not LAYERS.fullmatch(text):
        raise OptionError(
            f"{flag} {text[:80]} is not a list of layers.", f"Give numbers or ranges: {flag} 4-9,12"
        )
    layers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        layers.extend(range(int(first), int(last or first) + 1))
    if not layers or max(layers) >= count:
        raise OptionError(
            f"{flag} {text}: this model has layers 0 to {count - 1}.", "Give some of these layers."
        )
    return tuple(sorted(set(layers)))


def mix_latents(latents: Tensor, other: Tensor, layers: tuple[int, ...]) -> Tensor:
    """Return ``latents`` with these layers from ``other``; all are (n, layers, w_dim)."""
    import torch

    is_mixed = torch.zeros(latents.shape[1], 1, dtype=torch.bool, device=latents.device)
    is_mixed[list(layers)] = True
    return torch.where(is_mixed, other, latents)
