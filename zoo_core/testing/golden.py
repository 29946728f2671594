"""Golden cases: outputs of published reference implementations for fixed inputs, one safetensors file each.

A file holds tensors named ``inputs/…``, ``outputs/…``, ``intermediates/…`` and ``weights/…``. Its metadata
has, under ``golden``, the JSON that describes them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GoldenCase:
    """One golden case."""

    about: dict[str, Any]
    """Its JSON: ``config``, ``conventions``, ``tolerance_observed`` and more."""
    tensors: dict[str, Tensor]

    @classmethod
    def read(cls, path: Path) -> GoldenCase:
        """Read the file of a case."""
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return cls(json.loads(file.metadata()["golden"]), tensors)

    @property
    def runs(self) -> dict[str, dict[str, Any]]:
        """The settings of its runs by name, if the case has several."""
        runs: dict[str, dict[str, Any]] = self.about["config"]["runs"]
        return runs

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def under(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with ``prefix``, without the prefix."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


def relative_error(ours: Tensor, reference: Tensor) -> float:
    """Return the largest difference divided by the largest reference value; cases are compared by it."""
    assert ours.shape == reference.shape
    return float((ours.double() - reference.double()).abs().max() / reference.double().abs().max())
