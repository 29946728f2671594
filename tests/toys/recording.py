"""Samples that a record does not tell enough about."""

from __future__ import annotations

import torch

from zoo_core import Batch

from .sound import Toy


class HashesAText(Toy):
    """Its brightness follows from the hash of a text, which every process salts anew."""

    caught_by = "a_saved_sample_can_be_replayed"

    def start(self, batch: Batch) -> torch.Tensor:
        return super().start(batch) + hash("brightness") % 101 / 50
