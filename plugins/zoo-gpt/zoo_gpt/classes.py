"""The classes of a model of images: tokens that are never predicted, one of which begins each image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo_core import WeightsError


@dataclass(frozen=True)
class Classes:
    """What the table ``zoo`` of a config.json says of classes."""

    names: tuple[str, ...]
    """In label order; at least one."""
    null: bool
    """One more token stands for any class, which guidance needs."""

    @classmethod
    def of(cls, zoo: Mapping[str, Any], source: str) -> Classes | None:
        """Read them; None for an unconditional model.

        Raises:
            WeightsError: The names are no list of strings.
        """
        names, null = zoo.get("class_names", []), zoo.get("null_class", False)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise WeightsError(
                f"{source}: the table zoo says class_names = {names!r}.", "Give every class one name."
            )
        return cls(tuple(names), bool(null)) if names else None

    @property
    def starts(self) -> int:
        """How many tokens begin an image."""
        return len(self.names) + self.null

    def about(self, label: int) -> dict[str, Any]:
        """What to record of a sample with this label."""
        return {"label": label, "class": self.names[label]}
