"""The classes of a conditional model, as its checkpoint declares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo_core import WeightsError
from zoo_ddpm.unet import UNetConfig


@dataclass(frozen=True)
class Classes:
    """Labels 0 … count − 1, and perhaps one more that stands for all of them."""

    count: int
    names: tuple[str, ...]
    """In label order; empty if the checkpoint does not say."""
    null: int | None
    """The label that means "any class", which guidance needs; None if the model has none."""

    @classmethod
    def of(cls, config: UNetConfig, zoo: Mapping[str, Any], source: str) -> Classes | None:
        """Read them from config.json and its table ``zoo``; None for an unconditional model.

        Raises:
            WeightsError: The two contradict each other.
        """
        if config.num_class_embeds is None:
            return None
        null = zoo.get("null_class")
        count = config.num_class_embeds - (null is not None)
        names = tuple(map(str, zoo.get("class_names", ())))
        if null not in (None, count) or len(names) not in (0, count):
            raise WeightsError(
                f"{source}: the table zoo in config.json does not fit its {config.num_class_embeds} classes.",
                "Make the null class the last one, and give every other class one name.",
            )
        return cls(count, names, null)

    def about(self, label: int) -> dict[str, Any]:
        """What to record of a sample with this label."""
        return {"label": label, **({"class": self.names[label]} if self.names else {})}
