"""Parse ``--mix``: styles of some layers from another seed; arXiv:1812.04948, section 3.1."""

from __future__ import annotations

import re

from zoo_core import OptionError, parse_layers


def parse_mix(text: str, count: int) -> tuple[int, tuple[int, ...]]:
    """Parse ``7:4-9,12`` as seed 7 and layers 4 to 9 and 12.

    Args:
        text: The value of ``--mix``.
        count: Number of layers in the model.

    Raises:
        OptionError: The text has another form, or the model has no such layer.
    """
    match = re.fullmatch(r"(\d{1,18}):(.+)", text)
    if not match:
        raise OptionError(f"--mix {text[:80]} is not SEED:LAYERS.", "Give a seed and layers: --mix 7:4-9,12")
    return int(match[1]), parse_layers("--mix", match[2], count)
