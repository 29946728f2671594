"""Generators that ignore the given device or dtype."""

from __future__ import annotations

import contextlib
import socket

import torch

from zoo_core import Batch

from .sound import Toy


class NamesNoDtype(Toy):
    """It does not report its dtype."""

    caught_by = "the_reported_dtype_is_used"
    dtype = property(lambda self: None, lambda self, dtype: None)  # type: ignore[assignment]

    def start(self, batch: Batch) -> torch.Tensor:
        return batch.noise.normal(3, 4, 4)

    def refine(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        return 0.9 * x + torch.tensor([label or 0 for label in batch.options.label]).reshape(-1, 1, 1, 1) / 10


class BoastsOfBfloat16(Toy):
    """It reports the requested dtype, but does not compute in it."""

    caught_by = "the_reported_dtype_is_used"

    def start(self, batch: Batch) -> torch.Tensor:
        return batch.noise.normal(3, 4, 4)

    def refine(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        labels = torch.tensor([label or 0 for label in batch.options.label])
        return 0.9 * x + labels.reshape(-1, 1, 1, 1) / 10


class IgnoresTheDtype(Toy):
    """It computes in float32, says so, and does not refuse another dtype."""

    caught_by = "the_reported_dtype_is_used"

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__(None)


class AsksTheNetwork(Toy):
    """It opens a connection while loading."""

    caught_by = "downloaded_weights_need_no_network"

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__(dtype)
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", 9), timeout=1).close()


class LikesNoSamples(Toy):
    """Its batch size is zero."""

    caught_by = "batch_size_is_a_positive_integer"
    batch_size = 0


class PicksItsOwnDevice(Toy):
    """It uses CUDA if there is any."""

    caught_by = "the_given_device_is_used"

    def start(self, batch: Batch) -> torch.Tensor:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return super().start(batch).to(device)
