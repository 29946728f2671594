"""Generators whose samples cannot be replayed."""

from __future__ import annotations

import torch

from zoo_core import Batch

from .sound import Toy


class HashesAText(Toy):
    """Its brightness depends on the hash of a string, which differs in every process."""

    caught_by = "a_saved_sample_can_be_replayed"

    def start(self, batch: Batch) -> torch.Tensor:
        return super().start(batch) + hash("brightness") % 101 / 50
