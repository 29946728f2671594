"""Style mixing: take the styles of some layers from another seed; arXiv:1812.04948, section 3.1."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from zoo_core import OptionError

LAYERS = re.compile(r"\d{1,4}(?:-\d{1,4})?(?:,\d{1,4}(?:-\d{1,4})?)*")


def parse_mix(text: str, count: int) -> tuple[int, tuple[int, ...]]:
    """Parse ``7:4-9,12`` as seed 7 and layers 4 to 9 and 12.

    Args:
        text: The value of ``--mix``.
        count: Number of layers in the model.

    Raises:
        OptionError: The text has another form, or the model has no such layer.
    """
    match = re.fullmatch(rf"(\d{{1,18}}):({LAYERS.pattern})", text)
    if not match:
        raise OptionError(f"--mix {text[:80]} is not SEED:LAYERS.", "Give a seed and layers: --mix 7:4-9,12")
    return int(match[1]), parse_layers("--mix", match[2], count)


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


def mix_styles(ws: Tensor, other: Tensor, layers: tuple[int, ...]) -> Tensor:
    """Return ``ws`` with these layers from ``other``; all are (n, layers, w_dim)."""
    is_mixed = torch.zeros(ws.shape[1], 1, dtype=torch.bool, device=ws.device)
    is_mixed[list(layers)] = True
    return torch.where(is_mixed, other, ws)
