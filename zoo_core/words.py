"""Words that messages share."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 3


def some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are: a message stays one line."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
